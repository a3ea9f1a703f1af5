"""`[model]`: the network, how its inputs are scaled, and what of it stays at each site."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from common.plan.base import Section

SequenceEncoder = Literal["tcn", "lstm", "gru", "attention", "mlp"]
LocalPart = Literal["heads", "linear"]
# About 15,000 parameters each: larger ones learn the same at a fraction of the speed.
_WIDTHS: dict[SequenceEncoder, int] = {"tcn": 32, "lstm": 40, "gru": 44, "attention": 28, "mlp": 72}
_LAYERS: dict[SequenceEncoder, int] = {"tcn": 4, "lstm": 1, "gru": 1, "attention": 2, "mlp": 1}
ATTENTION_HEADS = 4


class ModelRules(Section):
    """`[model]`: shared encoder, linear path, heads; beside them an encoder of the sequence, where there is one."""

    hidden: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65_536)], ...], Field(strict=False, min_length=1, max_length=16)
    ] = Field(default=(32,), description="Widths of the shared ReLU encoder's layers.")
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(default=0.3, description="Dropout after each layer.")
    linear_path: bool = Field(default=True, description="Add a linear path from the inputs to every output.")
    piecewise_bins: Annotated[int, Field(ge=0, le=32)] = Field(
        default=4, description="Bins of the piecewise-linear code of numeric features at pooled quantiles; 0 for none."
    )
    z_clip: Annotated[float, Field(gt=0.0, le=1e3)] = Field(
        default=3.0, description="Standardised values are clipped to plus or minus this."
    )
    encoder: SequenceEncoder | None = Field(
        default=None,
        description="With `[sequence]`: 'tcn' (causal convolutions, the default), 'lstm', 'gru', 'attention', or 'mlp' "
        "(plain layers on the mean, least, greatest and last value so far, how often there was one, and when).",
    )
    sequence_width: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None,
        description="With `[sequence]`: width of its encoder. Without it about 15,000 parameters: 32 for 'tcn', 40 for "
        "'lstm', 44 for 'gru', 28 for 'attention', 72 for 'mlp'.",
    )
    sequence_layers: Annotated[int, Field(ge=1, le=16)] | None = Field(
        default=None,
        description="With `[sequence]`: layers of its encoder; without it 4 for 'tcn', 2 for 'attention', else 1.",
    )
    scaling: Literal["pooled", "site"] = Field(
        default="pooled",
        description="How numeric and hourly features are scaled. 'pooled': by the moments of all sites together. "
        "'site': each site maps its own moments onto those first, for hospitals whose units or devices differ; its "
        "moments stay there.",
    )
    local: Annotated[tuple[LocalPart, ...], Field(strict=False)] = Field(
        default=(),
        description="What each site trains for itself and keeps: 'heads' of all tasks, 'linear' (the linear path), "
        "both or none; all else is shared.",
    )

    @property
    def keeps_parts(self) -> bool:
        """Whether a part of the model is a site's own."""
        return self.scaling == "site" or bool(self.local)

    @property
    def sequence_encoder(self) -> SequenceEncoder:
        return self.encoder or "tcn"

    @property
    def width(self) -> int:
        """Width of the sequence's encoder."""
        return self.sequence_width or _WIDTHS[self.sequence_encoder]

    @property
    def layers(self) -> int:
        """Layers of the sequence's encoder."""
        return self.sequence_layers or _LAYERS[self.sequence_encoder]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.local)) < len(self.local):
            raise ValueError(f"'local' is {list(self.local)}; each part is named once")
        if "linear" in self.local and not self.linear_path:
            raise ValueError("'local' names 'linear', but linear_path is false; there is none to keep")
        if self.encoder == "attention" and self.width % ATTENTION_HEADS:
            raise ValueError(
                f"'sequence_width' is {self.width}; encoder 'attention' needs a multiple of its {ATTENTION_HEADS} heads"
            )
        return self
