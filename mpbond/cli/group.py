"""The frame around all verbs: errors become one sentence, and no verb means `status`."""

from __future__ import annotations

from typing import IO, Any, Final

import click

from mpbond.errors import MpbondError

DEFAULT_VERB: Final = "status"


class Refusal(click.ClickException):
    """Shows an `MpbondError` as `mpbond: sentence` and ends with status 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Writes the sentence to standard error."""
        click.echo(f"mpbond: {self.message}", file=file, err=file is None)


class SentenceGroup(click.Group):
    """A group of verbs that turns foreseeable failures into sentences."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the arguments; none at all means the default verb."""
        return super().parse_args(ctx, args or [DEFAULT_VERB])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the verb."""
        try:
            return super().invoke(ctx)
        except MpbondError as error:
            raise Refusal(str(error)) from error
