"""JSON Schema of the whole config, composed from the types that are installed.

Draft 7, the one that editors support best. It accepts what pollect accepts: text where a number is
wanted if it is a number or names a variable, and one text for a list of texts.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec import NODEFAULT, inspect
from msgspec.inspect import Field, Metadata, StructType, Type

from pollect.config.declared import fields_of, struct_type
from pollect.config.options import PROBES, TARGETS, ExecutorOptions, RootOptions
from pollect.config.probes import ProbeOptions
from pollect.config.sections import takes_single
from pollect.config.targets import TargetsOptions
from pollect.config.words import allowed_values, allows_none, choices, is_secret
from pollect.plugin import Source, Writer

Schema: TypeAlias = dict[str, Any]

#: Text that names a variable or a file: what it holds is known only when pollect runs.
_VARIABLE = r"\$\{"
_TEXTS = {
    "variable": {"type": "string", "pattern": _VARIABLE},
    "numberText": {
        "type": "string",
        "pattern": rf"^\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\s*$|{_VARIABLE}",
    },
    "booleanText": {
        "type": "string",
        "pattern": rf"^(?:[Tt]rue|[Ff]alse|yes|no|on|off|0|1)$|{_VARIABLE}",
    },
}
#: Text may look like a number or a boolean.
_ANY_TEXT = {"type": ["string", "number", "boolean"]}
#: Names of msgspec -> keywords of JSON Schema.
_LIMITS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}
_LIST_LIMITS = {"min_length": "minItems", "max_length": "maxItems"}


def build_schema(
    sources: Mapping[str, type[Source[Any]]], writers: Mapping[str, type[Writer[Any]]]
) -> Schema:
    """Return the schema of a config that may use these types, given by the words for them."""
    frame = _struct(struct_type(RootOptions))
    frame["properties"] |= {
        "$schema": {"type": "string", "description": "Address of this schema, for editors."},
        "writers": _list_of("writer", "Writers of all executors that name none of their own."),
        "writer": _one("writer", "One more writer for all executors."),
        PROBES: _modules(),
        "executors": {
            **_list_of("executor", "Collections of sources; each keeps its own pace."),
            "minItems": 1,
        },
    }
    executor = _struct(struct_type(ExecutorOptions))
    executor["properties"] |= {
        "sources": _list_of("source", "What to measure."),
        "writers": _list_of("writer", "Writers of this executor, instead of the global ones."),
        "writer": _one("writer", "The writer of this executor, instead of the global ones."),
    }
    executor["required"].append("sources")
    frame["required"].append("executors")
    definitions: dict[str, Schema] = {**_TEXTS, "executor": executor}
    for kind, types in (("source", sources), ("writer", writers)):
        definitions[kind] = _choice_of_types(kind, types)
        for word, plugin in types.items():
            definitions[f"{kind}.{word}"] = _section(plugin)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "pollect",
        "description": "What pollect measures, and where it hands the values.",
        **frame,
        "definitions": definitions,
    }


def _modules() -> Schema:
    """Return the schema of `probes`; what a module has of its source is left to `check`."""
    module = _struct(struct_type(ProbeOptions))
    module["properties"]["type"] = {"description": "Type of the source.", **_ANY_TEXT}
    module["required"].append("type")
    return {
        "description": "What may be probed on demand, at `/probe` of `Prometheus`, by name.",
        "type": "object",
        "additionalProperties": {**module, "additionalProperties": True},
    }


def _one(kind: str, description: str) -> Schema:
    return {"description": description, "allOf": [_reference(kind)]}


def _list_of(kind: str, description: str) -> Schema:
    return {"description": description, "type": "array", "items": _reference(kind)}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _choice_of_types(kind: str, types: Mapping[str, Any]) -> Schema:
    """Return the schema of any section of one kind: its `type` decides on the rest."""
    word = {
        "description": f"Type of the {kind}.",
        "anyOf": [
            {"enum": list(types)},
            {"type": "string", "pattern": r"\.", "description": "A local extension."},
            _reference("variable"),
        ],
    }
    return {
        "type": "object",
        "properties": {"type": word},
        "required": ["type"],
        "allOf": [
            {
                "if": {"properties": {"type": {"const": word}}, "required": ["type"]},
                "then": _reference(f"{kind}.{word}"),
            }
            for word in types
        ],
    }


def _section(plugin: type[Source[Any]] | type[Writer[Any]]) -> Schema:
    schema = _struct(struct_type(plugin.config_type))
    if issubclass(plugin, Source) and TARGETS not in schema["properties"]:
        _allow_targets(schema, plugin.target_option)
    summary = (plugin.__doc__ or "").strip().partition("\n")[0]
    return {"description": summary, **schema} if summary else schema


def _allow_targets(schema: Schema, option: str) -> None:
    """Let the section of a source have an inventory, which brings its `option` along."""
    if schema["additionalProperties"]:  # an extension may mean something else by the word
        return
    schema["properties"][TARGETS] = {
        "description": "Repeat this section for each target of an inventory.",
        **_struct(struct_type(TargetsOptions)),
        "anyOf": [{"required": ["file"]}, {"required": ["http"]}],
    }
    if option in schema["required"]:
        schema["required"].remove(option)
        schema["anyOf"] = [{"required": [option]}, {"required": [TARGETS]}]


def _struct(kind: StructType) -> Schema:
    fields = fields_of(kind)
    properties = {field.encode_name: _field(field) for field in fields}
    required = [field.encode_name for field in fields if field.required]
    if kind.tag_field is not None:
        properties[kind.tag_field] = {"const": kind.tag}
        required.append(kind.tag_field)
    keeps_unknown = getattr(kind.cls, "keep_unknown", False)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": keeps_unknown,
    }


def _field(field: Field) -> Schema:
    schema = _value(field.type)
    if isinstance(field.type, Metadata):
        schema = {**(field.type.extra_json_schema or {}), **schema}
    default = field.default
    if field.default_factory is not NODEFAULT:
        default = field.default_factory()
    if default is not NODEFAULT and default is not None and not is_secret(field.type):
        plain = msgspec.json.encode(default, enc_hook=lambda _secret: None)
        schema["default"] = msgspec.json.decode(plain)
    return schema


def _value(kind: Type) -> Schema:
    """Return the schema of a type; None in a union means that the option may be left empty."""
    alternatives = [
        alternative for choice in choices(kind) for alternative in _alternatives(choice)
    ]
    if allows_none(kind):
        alternatives.append({"type": "null"})
    return dict(alternatives[0]) if len(alternatives) == 1 else {"anyOf": alternatives}


def _alternatives(kind: Type) -> list[Schema]:
    """Return the schemas of which a value must match one."""
    match kind:
        case inspect.AnyType():
            return [{}]
        case inspect.BoolType():
            return [{"type": "boolean"}, _reference("booleanText")]
        case inspect.IntType():
            return [{"type": "integer", **_limits(kind)}, _reference("numberText")]
        case inspect.FloatType():
            return [{"type": "number", **_limits(kind)}, _reference("numberText")]
        case inspect.LiteralType() | inspect.EnumType():
            values = allowed_values(kind)
            texts = [str(value) for value in values if not isinstance(value, str)]
            return [{"enum": values + texts}, _reference("variable")]
        case inspect.StrType(min_length=None, max_length=None, pattern=None):
            return [dict(_ANY_TEXT)]
        case inspect.StrType():
            return [{"type": "string", **_limits(kind)}, _reference("variable")]
        case StructType():
            return [_struct(kind)]
        case inspect.DictType():
            return [{"type": "object", "additionalProperties": _value(kind.value_type)}]
        case inspect.TupleType():
            items = [_value(item) for item in kind.item_types]
            count = len(items)
            return [{"type": "array", "items": items, "minItems": count, "maxItems": count}]
        case inspect.CollectionType():
            item = _value(kind.item_type)
            single = [item] if takes_single([kind.item_type]) else []
            return [{"type": "array", "items": item, **_limits(kind)}, *single]
    return [{**_ANY_TEXT, "writeOnly": True}]  # a secret


def _limits(kind: Type) -> Schema:
    words = _LIST_LIMITS if isinstance(kind, inspect.CollectionType) else _LIMITS
    limits = {word: getattr(kind, name, None) for name, word in words.items()}
    return {word: limit for word, limit in limits.items() if limit is not None}
