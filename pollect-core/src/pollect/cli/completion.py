"""What a shell offers when somebody presses Tab: commands, files, types, options of a type."""

from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    ShellComplete,
    ZshComplete,
    get_completion_class,
)

from pollect.discovery.entry import KINDS, Kind

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_POLLECT_COMPLETE"


class _Bash(BashComplete):
    """As click's, but without a blank behind `key=`, where the value follows."""

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' line kind value
    COMPREPLY=()
    for line in $(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
            %(complete_var)s=bash_complete "$1" 2>/dev/null); do
        kind="${line%%%%,*}"
        value="${line#*,}"
        case "$kind" in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("$value")
                [[ "$value" == *= ]] && compopt -o nospace
                ;;
        esac
    done
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Zsh(ZshComplete):
    """As click's, but without a blank behind `key=`."""

    source_template = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a answer plain described keys
    local kind value text
    answer=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \\
        %(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)}")
    for kind value text in $answer; do
        case $kind in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain)
                if [[ $value == *= ]]; then
                    keys+=("$value:${text#_}")
                elif [[ $text == _ ]]; then
                    plain+=("$value")
                else
                    described+=("$value:$text")
                fi
                ;;
        esac
    done
    (( $#described )) && _describe -V unsorted described -U
    (( $#keys )) && _describe -V unsorted keys -U -S ''
    (( $#plain )) && compadd -U -V unsorted -a plain
    return 0
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""


_OWN: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh}


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    eval "$(pollect completion bash)"       in ~/.bashrc
    eval "$(pollect completion zsh)"        in ~/.zshrc
    pollect completion fish | source        in ~/.config/fish/config.fish
    """
    found = _OWN.get(shell) or get_completion_class(shell)
    assert found is not None  # noqa: S101 - click knows all of SHELLS
    root = context.find_root().command
    click.echo(found(root, {}, "pollect", VARIABLE).source())


def complete_types(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer installed source and writer types."""
    return _types(KINDS, incomplete)


def complete_sources(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer installed source types."""
    return _types(("source",), incomplete)


def complete_probe(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer source types, then the options of the type; with a config, what it names."""
    words: Sequence[str] = context.params.get("words") or ()
    config_name = context.params.get("config_name")
    if config_name:
        return [] if words else _sources_of(config_name, incomplete)
    if not words:
        return _types(("source",), incomplete)
    return _options_of(words[0], words[1:], incomplete)


def _types(kinds: Sequence[Kind], incomplete: str) -> list[CompletionItem]:
    from pollect.discovery.registry import Registry

    registry = Registry()
    wanted = incomplete.lower()
    return [
        CompletionItem(entry.spec.type, help=entry.spec.summary)
        for kind in kinds
        for word, entry in registry.words(kind).items()
        if word == entry.spec.type and word.lower().startswith(wanted)
    ]


def _options_of(type_name: str, given: Sequence[str], incomplete: str) -> list[CompletionItem]:
    from pollect.config.describe import describe_options
    from pollect.discovery.registry import Registry
    from pollect.errors import PluginError

    try:
        config_type: Any = Registry().find("source", type_name).spec.load().config_type
    except PluginError:
        return []
    taken = {word.partition("=")[0] for word in given}
    return [
        CompletionItem(f"{row.name}=", help=row.description)
        for row in describe_options(config_type)
        if row.name not in taken
        and row.name != "type"
        and "[" not in row.name
        and "*" not in row.name
        and row.name.startswith(incomplete)
    ]


def _sources_of(config_name: str, incomplete: str) -> list[CompletionItem]:
    """Offer the names and types of the sources in a config, however wrong it may be."""
    from pollect.config.reading import find_config, read_document
    from pollect.errors import ConfigError

    try:
        data = read_document(find_config(config_name)).data
    except ConfigError:
        return []
    found: dict[str, None] = {}
    for executor in _items(data, "executors"):
        for source in _items(executor, "sources"):
            if isinstance(source, dict):
                found |= dict.fromkeys(
                    str(source[key]) for key in ("type", "name") if source.get(key)
                )
    return [CompletionItem(word) for word in found if word.startswith(incomplete)]


def _items(section: Any, key: str) -> list[Any]:
    items = section.get(key) if isinstance(section, dict) else None
    return items if isinstance(items, list) else []
