"""Whom the current resource is about, and the verdict on a resource that cannot be scrubbed."""

from __future__ import annotations

import msgspec

from mayo_data.phi.known import Known


class Reject(Exception):  # noqa: N818 - not an error of the program: a verdict on one row
    """A resource that cannot be scrubbed; carries a reason of `schemas/reasons.toml` and an element path."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class Subject:
    """The patient that the current resource is about, ready to scrub with."""

    __slots__ = ("birth", "known", "nobody", "offset", "ref", "reference", "subject_id")

    def __init__(
        self, subject_id: int, offset: int, known: Known, birth: str | None, *, ref: str = "", nobody: bool = False
    ) -> None:
        self.subject_id = subject_id
        self.offset = offset
        self.known = known
        self.ref = ref  # `Patient/id` of the resource that speaks for them
        self.nobody = nobody  # a resource about no patient: of its texts nobody knows whom they may name
        self.birth = birth  # what stands for the birth date of someone over the top age, else None
        self.reference = msgspec.Raw(b'{"reference":"Patient/%d"}' % subject_id)
