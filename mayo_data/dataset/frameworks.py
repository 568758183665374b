"""A reader as the data sets of training frameworks. They are loaded when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from mayo_data.errors import ConfigError
from mayo_data.types import Json


class Samples(Protocol):
    """What a stream needs of a `Reader`."""

    def samples(self) -> Iterator[Any]:
        """Yield all samples."""
        ...

    def part(self, number: int, parts: int) -> Iterator[Any]:
        """Yield the samples of a part."""
        ...

    def state(self) -> Json:
        """Return where it stands."""
        ...

    def resume(self, state: Json) -> Any:
        """Go on from there."""
        ...


def torch_stream(reader: Samples) -> Any:
    """Return a PyTorch `IterableDataset` over a reader; see `Reader.torch`.

    Raises:
        ConfigError: PyTorch is not installed.
    """
    try:
        from torch.utils.data import IterableDataset, get_worker_info
    except ModuleNotFoundError as error:
        raise ConfigError("PyTorch is not installed", hint='pip install "mayo-data[torch]"') from error

    class Stream(IterableDataset):  # type: ignore[misc]
        """The samples of a reader; every worker of a DataLoader takes its share of the subjects."""

        def __reduce__(self) -> tuple[Any, tuple[Samples]]:  # to workers that are spawned
            return torch_stream, (reader,)

        def __iter__(self) -> Iterator[Any]:
            info = get_worker_info()
            return reader.samples() if info is None else reader.part(info.id, info.num_workers)

        def state_dict(self) -> dict[str, Any]:
            return reader.state()

        def load_state_dict(self, state: dict[str, Any]) -> None:
            reader.resume(state)

    return Stream()


def huggingface_stream(reader: Samples) -> Any:
    """Return a Hugging Face `IterableDataset` over a reader; see `Reader.huggingface`.

    Raises:
        ConfigError: `datasets` is not installed.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ConfigError("datasets is not installed", hint='pip install "mayo-data[huggingface]"') from error
    return datasets.IterableDataset.from_generator(_rows, gen_kwargs={"reader": reader})


def _rows(reader: Samples) -> Iterator[dict[str, Any]]:
    for sample in reader.samples():
        events = (
            sample.events.drop_columns("subject_id") if "subject_id" in sample.events.column_names else sample.events
        )
        yield {
            "subject_id": sample.subject_id,
            "prediction_time": sample.prediction_time,
            "value": sample.value,
            **events.to_pydict(),
        }
