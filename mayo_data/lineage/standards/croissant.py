"""Croissant 1.1 with the properties of its Responsible AI vocabulary (RAI 1.0): what a snapshot is, for ML tools.

What only people know (licence, intended uses, biases) is a marked blank, never a guess.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from mayo_data import schema
from mayo_data.lineage.standards import answers
from mayo_data.lineage.standards.account import Account
from mayo_data.lineage.standards.openlineage import table_of
from mayo_data.lineage.standards.writing import line
from mayo_data.types import Json

BLANK = "TO BE FILLED IN"
_CONTEXT: Json = {
    "@language": "en", "@vocab": "https://schema.org/", "arrayShape": "cr:arrayShape", "citeAs": "cr:citeAs",
    "column": "cr:column", "conformsTo": "dct:conformsTo", "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"}, "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty", "fileSet": "cr:fileSet", "format": "cr:format",
    "includes": "cr:includes", "isArray": "cr:isArray", "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5", "name": {"@container": "@language"},
    "parentField": "cr:parentField", "path": "cr:path", "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated",
    "replace": "cr:replace", "samplingRate": "cr:samplingRate", "sc": "https://schema.org/",
    "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip
_TYPES: dict[pa.DataType, str] = {
    pa.bool_(): "sc:Boolean", pa.int16(): "cr:Int16", pa.int32(): "cr:Int32", pa.int64(): "cr:Int64",
    pa.float32(): "cr:Float32", pa.string(): "sc:Text", pa.large_string(): "sc:Text",
    pa.timestamp("us"): "sc:DateTime",
}  # fmt: skip
_FORMATS = {"parquet": "application/x-parquet", "json": "application/json"}
_KEYS = {
    "events": ("source_table", "source_row", "source_item"), "codes": ("code",), "subject_splits": ("subject_id",),
    "sources": ("source_table",), "scrubs": ("scrub_ref",), "resources": ("source_table", "source_row"),
}  # fmt: skip
_REFERENCES = {"source_table": "sources", "scrub_ref": "scrubs", "code": "codes", "subject_id": "subject_splits"}


def document(account: Account, *, prefix: str = "", name: str = "mayo_data") -> Json:
    """Return the Croissant description of a snapshot, as JSON-LD.

    Args:
        account: The store's account.
        prefix: Where the snapshot's folder lies, seen from the description: a relative path or a URL, ending in `/`.
        name: Name of the dataset.

    Returns:
        JSON-able document: `distribution` with the sha256 of every file of the manifest, `recordSet` of its tables.
    """
    manifest = account.manifest
    known = answers.known(account)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": _tidy(name),
        "description": known["description"].text,
        "version": f"{int(account.snapshot)}.0.0" if account.snapshot.isdigit() else "0.0.0",
        "dateCreated": manifest["created_at"],
        "datePublished": manifest["created_at"],
        "isLiveDataset": False,
        "license": f"{BLANK}: under which terms this snapshot may be used",
        "citeAs": f"{BLANK}: how to cite it",
        "creator": {"@type": "sc:Organization", "name": f"{BLANK}: who made it"},
        "publisher": {"@type": "sc:Organization", "name": f"{BLANK}: who answers for it"},
        "keywords": ["MEDS", "EHR", "de-identified", "patient timelines"],
        "distribution": [*_files(account, prefix), *_sets(account, prefix)],
        "recordSet": [_record_set(account, table) for table in sorted(manifest["tables"])],
        **{f"rai:{name}": value for name, value in answers.responsible(known, BLANK).items()},
    }


def _files(account: Account, prefix: str) -> list[Json]:
    return [
        {
            "@type": "cr:FileObject", "@id": one["path"], "name": one["path"].rpartition("/")[2],
            "contentUrl": prefix + one["path"], "contentSize": f"{one['bytes']} B", "sha256": one["sha256"],
            "encodingFormat": _FORMATS.get(one["path"].rpartition(".")[2], "application/octet-stream"),
        }
        for one in sorted(account.manifest["files"], key=lambda one: one["path"])
    ]  # fmt: skip


def _paths(account: Account, table: str) -> list[str]:
    return sorted(one["path"] for one in account.manifest["files"] if table_of(one["path"]) == table)


def _sets(account: Account, prefix: str) -> list[Json]:
    """A set for each table in a folder of its own: it may have more than one file in the next snapshot."""
    made = []
    for table in sorted(account.manifest["tables"]):
        paths = _paths(account, table)
        folders = {path.rpartition("/")[0] for path in paths}
        if _is_single(table, paths):
            continue
        includes = [f"{prefix}{folder}/*.parquet" for folder in sorted(folders)]
        made.append(
            {
                "@type": "cr:FileSet", "@id": f"{table}-files", "name": f"{table}-files", "includes": includes,
                "encodingFormat": _FORMATS["parquet"],
            }
        )  # fmt: skip
    return made


def _is_single(table: str, paths: list[str]) -> bool:
    return len(paths) == 1 and paths[0].rpartition("/")[2] == f"{table}.parquet"


def _record_set(account: Account, table: str) -> Json:
    paths, definition = _paths(account, table), schema.table(table)
    where: Json = (
        {"fileObject": {"@id": paths[0]}} if _is_single(table, paths) else {"fileSet": {"@id": f"{table}-files"}}
    )
    made: Json = {
        "@type": "cr:RecordSet", "@id": table, "name": table,
        "description": (definition.metadata or {}).get(b"doc", b"").decode(),
        "field": [_field(account, table, field, where) for field in definition],
    }  # fmt: skip
    if table in _KEYS:
        keys = [{"@id": f"{table}/{column}"} for column in _KEYS[table]]
        made["key"] = keys if len(keys) > 1 else keys[0]
    return made


def _field(account: Account, table: str, field: pa.Field, where: Json) -> Json:
    array = pa.types.is_list(field.type)
    made: dict[str, Any] = {
        "@type": "cr:Field", "@id": f"{table}/{field.name}", "name": field.name, "description": schema.doc(field),
        "dataType": _TYPES[field.type.value_type if array else field.type],
        "source": {**where, "extract": {"column": field.name}},
    }  # fmt: skip
    if array:
        made |= {"isArray": True, "arrayShape": "-1"}
    target = _REFERENCES.get(field.name)
    if target and target != table and target in account.manifest["tables"]:
        made["references"] = {"field": {"@id": f"{target}/{field.name}"}}
    return made


def _tidy(name: str) -> str:
    return line(name, 100) or "mayo_data"
