"""Completion in bash of names with a colon, at which bash parts its words.

Bash hands over `me/tiny`, `:` and `q4` for `me/tiny:q4`, and replaces only the last of them.
"""

from __future__ import annotations

import os

from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string


class ColonBashComplete(BashComplete):
    """click's completion for bash, with the words of a name put together again."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is being completed, and that one."""
        words = split_arg_string(os.environ["COMP_WORDS"])
        count = int(os.environ["COMP_CWORD"])
        glued: list[str] = []
        for word in [*words[:count], words[count] if count < len(words) else ""]:
            if glued and (word == ":" or glued[-1].endswith(":")):
                glued[-1] += word
            else:
                glued.append(word)
        return glued[1:-1], glued[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """Return a line of the answer; of a value only what stands where bash puts it."""
        _, incomplete = self.get_completion_args()
        replaced = len(incomplete.rpartition(":")[0]) + 1 if ":" in incomplete else 0
        return f"{item.type},{item.value[replaced:]}"


add_completion_class(ColonBashComplete, "bash")
