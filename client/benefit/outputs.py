"""What `consilium predict` needs for honest outputs, as one file: sealed like the model, because it is of patients too.

safetensors inside: the fine-tuned and the local model as they would be files, the detector, and the tasks as JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from client.benefit.answers import TaskOutput
from client.benefit.bands import Bands
from client.benefit.calibrate import Calibrator
from client.benefit.candidates import FEDERATED, FINE_TUNED, LOCAL
from client.benefit.conformal import Conformal
from client.benefit.outlier import Detector
from common.errors import ModelFileError
from common.model_file import ModelFile

OUTPUTS = "outputs.safetensors.enc"
_FORMAT = "consilium/outputs/1"


@dataclass(frozen=True)
class SiteOutputs:
    """model: SHA-256, in hexadecimal, of the model file that these belong to. further: candidate -> its model.

    tasks: task -> what was decided for it; tasks that the federation left out are absent.
    """

    model: str
    further: Mapping[str, ModelFile]
    detector: Detector
    tasks: Mapping[str, TaskOutput]

    def to_bytes(self) -> bytes:
        quantiles = np.array([each.conformal.quantile for each in self.tasks.values()], dtype=np.float64)
        arrays = _arrays("detector", self.detector) | {"quantiles": quantiles}
        arrays |= {f"model.{name}": np.frombuffer(one.to_bytes(), dtype=np.uint8) for name, one in self.further.items()}
        facts = {"format": _FORMAT, "model": self.model, "tasks": {name: _plain(t) for name, t in self.tasks.items()}}
        return bytes(save(arrays, metadata={"consilium": json.dumps(facts)}))

    @staticmethod
    def from_bytes(data: bytes, *, source: str) -> "SiteOutputs":
        """Raises ModelFileError, naming `source`, if the bytes are damaged or of another version."""
        try:
            arrays = load(data)
            length = int.from_bytes(data[:8], "little")
            facts = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["consilium"])
            if facts["format"] != _FORMAT:
                raise ModelFileError(
                    f"{source}: not of this version ({_FORMAT}); `consilium site benefit` makes it anew."
                )
            tasks = {
                name: _task(entry, float(quantile))
                for (name, entry), quantile in zip(facts["tasks"].items(), arrays["quantiles"], strict=True)
            }
            further = {
                name: ModelFile.from_bytes(arrays[f"model.{name}"].tobytes(), source=source)
                for name in (FINE_TUNED, LOCAL)
                if f"model.{name}" in arrays
            }
            return SiteOutputs(str(facts["model"]), further, _detector("detector", arrays), tasks)
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ModelFileError(f"{source}: is damaged; `consilium site benefit` makes it anew.") from None

    def of(self, name: str, federated: ModelFile) -> ModelFile:
        """The model of a candidate."""
        return federated if name == FEDERATED else self.further[name]


def _arrays(name: str, detector: Detector) -> dict[str, np.ndarray]:
    """`name`.mean and so on; that of the hours, where there is one, as `name`.hours.mean and so on."""
    hours = {} if detector.hours is None else _arrays(f"{name}.hours", detector.hours)
    return hours | {
        f"{name}.mean": np.ascontiguousarray(detector.mean),
        f"{name}.precision": np.ascontiguousarray(detector.precision),
        f"{name}.limits": np.array([detector.farthest, detector.most_missing]),
    }


def _detector(name: str, arrays: Mapping[str, np.ndarray]) -> Detector:
    """As `_arrays` wrote it. Raises KeyError where a part is missing."""
    mean, precision, limits = (arrays[f"{name}.{part}"] for part in ("mean", "precision", "limits"))
    hours = _detector(f"{name}.hours", arrays) if f"{name}.hours.mean" in arrays else None
    return Detector(mean, precision, float(limits[0]), float(limits[1]), hours)


def _plain(output: TaskOutput) -> dict[str, Any]:
    content = asdict(output)
    del content["conformal"]["quantile"]  # may be infinite, which JSON has no word for
    return content


def _task(entry: dict[str, Any], quantile: float) -> TaskOutput:
    bands = None if entry["bands"] is None else Bands(**entry["bands"])
    return TaskOutput(
        str(entry["model"]), Calibrator(**entry["calibrator"]), Conformal(quantile, **entry["conformal"]), bands
    )
