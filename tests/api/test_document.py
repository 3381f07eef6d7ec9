"""The OpenRPC document, against its meta-schema, the committed copy, and the types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from referencing import Registry as Schemas
from referencing import Resource
from referencing.jsonschema import DRAFT7

from tools.write_openrpc import text
from utraced.api import document as api
from utraced.api.methods import registry
from utraced.errors import InvalidParams
from utraced.handlers.limits import MAX_PACKET
from utraced.model import encode_json

ROOT = Path(__file__).resolve().parents[1]
HERE = "urn:document"


def schema(name: str) -> Any:
    return json.loads((ROOT / "schemas" / name).read_text())


META = schema("openrpc-1.3.json")
SCHEMAS: Schemas[Any] = Schemas().with_resources(
    (uri, DRAFT7.create_resource(contents))
    for contents in (META, schema("json-schema.json"))
    for uri in (contents["$id"], contents["$id"].rstrip("/"))
)
WORDS = [None, *api.parts()]


def at_home(part: Any) -> Any:
    """Return a part of the document whose references lead into the document."""
    if isinstance(part, dict):
        return {
            key: HERE + value if key == "$ref" and value.startswith("#") else at_home(value)
            for key, value in part.items()
        }
    return [at_home(each) for each in part] if isinstance(part, list) else part


def checker(part: Any, document: dict[str, Any], validator: type[Draft7Validator] = Draft7Validator) -> Draft7Validator:
    """Return what checks values against a schema in ``document``."""
    home = at_home(document)
    return validator(at_home(part), registry=SCHEMAS.with_resource(HERE, Resource(contents=home, specification=DRAFT7)))


def schemas_in(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every schema of a document, with where it stands."""
    for method in document["methods"]:
        yield f"{method['name']} result", method["result"]["schema"]
        for param in method["params"]:
            yield f"{method['name']} {param['name']}", param["schema"]
    yield from document["components"]["schemas"].items()
    for kind, error in document["components"]["errors"].items():
        yield kind, error["data"]
    for event in document.get("x-events", ()):
        yield event["name"], event["schema"]


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for each in part:
            yield from references(each)


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return api.document()


@pytest.mark.parametrize("family", WORDS)
def test_it_is_openrpc(family: str | None) -> None:
    document = json.loads(encode_json(api.document(family)))
    problems = [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in Draft7Validator(META, registry=SCHEMAS).iter_errors(document)
    ]
    assert problems == []


def test_the_meta_schema_finds_mistakes(whole: dict[str, Any]) -> None:
    validator = Draft7Validator(META, registry=SCHEMAS)
    for key in ("openrpc", "methods", "info"):
        assert not validator.is_valid({name: value for name, value in whole.items() if name != key})
    assert not validator.is_valid({**whole, "events": []})
    broken = [{**whole["methods"][0], "params": [{"name": "pid", "schema": {"type": "number of a process"}}]}]
    assert not validator.is_valid({**whole, "methods": broken})


def test_it_is_as_it_was_committed() -> None:
    committed = (ROOT / "openrpc.json").read_text(encoding="utf-8")
    assert committed == text(), "the contract has changed: look whether it may, then run tools/write_openrpc.py"


@pytest.mark.parametrize("family", WORDS)
def test_it_fits_a_packet(family: str | None) -> None:
    assert len(encode_json(api.document(family))) < MAX_PACKET - 2000


@pytest.mark.parametrize("family", WORDS)
def test_references_lead_somewhere(family: str | None) -> None:
    document = api.document(family)
    for reference in set(references(document)):
        part: Any = document
        for step in reference.removeprefix("#/").split("/"):
            part = part[step]


def test_families_are_parts_of_the_whole(whole: dict[str, Any]) -> None:
    methods = [method for word in api.parts() for method in api.document(word)["methods"]]
    assert sorted(methods, key=lambda method: method["name"]) == whole["methods"]
    assert api.document("event")["x-events"] == whole["x-events"]
    layouts = [layout for word in api.parts() for layout in api.document(word)["x-layouts"]]
    assert layouts == whole["x-layouts"]


def test_no_such_family() -> None:
    with pytest.raises(InvalidParams) as caught:
        api.document("engin")
    assert "engine" in caught.value.hint
    assert caught.value.data["member"] == "family"


def test_every_method_is_there_and_its_access(whole: dict[str, Any]) -> None:
    methods = registry().methods
    assert {method["name"]: method["x-access"] for method in whole["methods"]} == {
        name: method.access for name, method in methods.items()
    }


def test_it_is_plain_json(whole: dict[str, Any]) -> None:
    assert json.loads(encode_json(whole)) == whole


def test_every_schema_is_one(whole: dict[str, Any]) -> None:
    for where, each in schemas_in(whole):
        assert each, where
        Draft7Validator.check_schema(each)
        Draft202012Validator.check_schema(each)


def test_everything_is_described(whole: dict[str, Any]) -> None:
    bare = [method["name"] for method in whole["methods"] if not method["summary"]]
    bare += [
        f"{method['name']} {param['name']}"
        for method in whole["methods"]
        for param in method["params"]
        if not param.get("description")
    ]
    bare += [event["name"] for event in whole["x-events"] if not event["summary"]]
    bare += [
        f"{where} {name}"
        for where, each in schemas_in(whole)
        for name, member in each.get("properties", {}).items()
        if "const" not in member and not member.get("description")
    ]
    assert bare == []


@pytest.mark.parametrize("draft", [Draft7Validator, Draft202012Validator])
def test_examples_fit_their_schemas(whole: dict[str, Any], draft: type[Draft7Validator]) -> None:
    for method in whole["methods"]:
        params = {param["name"]: param for param in method["params"]}
        required = {name for name, param in params.items() if param["required"]}
        for example in method["examples"]:
            given = {param["name"]: param["value"] for param in example["params"]}
            assert required <= given.keys() <= params.keys()
            for name, value in given.items():
                checker(params[name]["schema"], whole, draft).validate(value)
            checker(method["result"]["schema"], whole, draft).validate(example["result"]["value"])
    for event in whole["x-events"]:
        [example] = event["examples"]
        checker(event["schema"], whole, draft).validate(example)
        assert example.keys() <= event["schema"]["properties"].keys()


def test_required_parameters_come_first(whole: dict[str, Any]) -> None:
    for method in whole["methods"]:
        required = [param["required"] for param in method["params"]]
        assert required == sorted(required, reverse=True)
