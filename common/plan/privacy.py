"""`[privacy]`: differential privacy: whose part in the model noise hides, and how well."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from common.plan.base import Count, Positive, Section


class Privacy(Section):
    """`[privacy]`: whose part in the model is hidden by noise: nobody's, a patient's, or a whole hospital's."""

    unit: Literal["none", "patient", "hospital"] = Field(
        default="none",
        description="'patient': all rows of one patient together, by DP-SGD. 'hospital': everything that one site "
        "sends in training; for research with very many sites. 'none': no noise, and no epsilon.",
    )
    noise: Literal["local", "shared"] = Field(
        default="local",
        description="Who makes the noise. 'local': each site all of it, by itself. 'shared': each site a share, which "
        "only add up to enough in a secure sum; training is then one step per round over all sites' patients.",
    )
    target_epsilon: Positive | None = Field(
        default=None,
        description="The epsilon that all releases of a run may cost together, at `delta`; the noise follows from it.",
    )
    noise_multiplier: Annotated[float, Field(ge=0.01, le=1e6)] | None = Field(
        default=None,
        description="Instead of target_epsilon: standard deviation of the noise over the sensitivity, of every release "
        "alike; the epsilon follows from it. Below 0.01 one release costs an epsilon of 5,000, which hides nobody; "
        "above 1,000,000 nothing is left of a model.",
    )
    delta: Annotated[float, Field(gt=0.0, le=1e-2)] = Field(
        default=1e-5, description="The delta at which epsilon is stated; well below 1 / patients."
    )
    max_grad_norm: Positive = Field(
        default=1.0, description="Unit 'patient': L2 norm to which one patient's gradient, over all tasks, is clipped."
    )
    rows_per_patient: Count = Field(
        default=4, description="Unit 'patient': so many rows (stays) of a patient take part, the first ones."
    )
    expected_patients: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        default=1000,
        description="Training patients of all sites together, roughly: a public guess, never counted from data. With "
        "noise 'shared' a patient is in a step with probability batch_size / expected_patients; histograms get "
        "bins that the noise leaves readable at this number.",
    )
    survey_share: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        default=0.1, description="Part of target_epsilon for the survey of the training rows; training has the rest."
    )

    @property
    def per_patient(self) -> bool:
        """Whether every release about patients is noised, and charged to the patient's account."""
        return self.unit == "patient"

    @property
    def pooled_steps(self) -> bool:
        """Whether a round is one step of pooled DP-SGD: sites send summed clipped gradients, not updates."""
        return self.per_patient and self.noise == "shared"

    @property
    def noise_in_sum(self) -> bool:
        """Whether the noise of training is made of shares that add up in the secure sum."""
        return self.noise == "shared" and self.unit != "none"

    @field_validator("noise_multiplier", mode="before")
    @classmethod
    def _within_reason(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0.01 <= value <= 1e6:
            raise ValueError(f"{value:g} is no noise multiplier that makes sense; 0.01 to 1,000,000 are allowed")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        fields = type(self).model_fields
        told = {name for name, field in fields.items() if getattr(self, name) != field.default}
        if self.unit == "none":
            if told:
                raise ValueError(f"'{sorted(told)[0]}' says nothing without unit = 'patient' or 'hospital'")
            return self
        if (self.target_epsilon is None) == (self.noise_multiplier is None):
            raise ValueError(f"unit = '{self.unit}' needs either target_epsilon or noise_multiplier, and not both")
        if self.unit == "hospital" and self.noise != "shared":
            raise ValueError("unit = 'hospital' needs noise = 'shared': alone, a hospital would drown in its own noise")
        return self
