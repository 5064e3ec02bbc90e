# SPDX-License-Identifier: Apache-2.0
"""Community, and the form of communities: `a:b` (RFC 1997) and `large:a:b:c` (RFC 8092)."""

from fairlead.crds.definition import Definition, Version
from fairlead.crds.schema import Schema, array, checked, distinct_texts, rule, struct, text

MOST_COMMUNITIES = 63
"""On one prefix, as upstream."""
_ALIASES = 128


def _is_community(value: str) -> str:
    """CEL: the text is a community. `int` is safe after the pattern bounded the digits."""
    standard = (
        f"({value}.matches('^[0-9]{{1,5}}:[0-9]{{1,5}}$')"
        f" && {value}.split(':').all(n, int(n) <= 65535))"
    )
    large = (
        f"({value}.matches('^large(:[0-9]{{1,10}}){{3}}$')"
        f" && {value}.substring(6).split(':').all(n, int(n) <= 4294967295))"
    )
    return f"({standard} || {large})"


_FORMS = "neither a:b with numbers up to 65535 nor large:a:b:c with numbers up to 4294967295"


def communities(about: str) -> Schema:
    """Communities and names of aliases: what has a colon is no name."""
    item = checked(
        text("A community, or the name of an alias.", minLength=1),
        rule(
            f"!self.contains(':') || {_is_community('self')}",
            f"is {_FORMS}",
            says=f"'\"' + self + '\" is {_FORMS}'",
        ),
    )
    return checked(array(about, item, MOST_COMMUNITIES), distinct_texts("a community"))


def community() -> Definition:
    """The definition of Community."""
    alias = struct(
        "A name and what it stands for.",
        ("name", "value"),
        name=checked(
            text("Name by which advertisements call it.", minLength=1),
            rule("!self.contains(':')", "a name has no colon: it would look like a community"),
        ),
        value=checked(
            text("The community."),
            rule(_is_community("self"), f"is {_FORMS}", says=f"'\"' + self + '\" is {_FORMS}'"),
        ),
    )
    aliases = checked(
        array("The names.", alias, _ALIASES),
        rule(
            "self.all(one, self.exists_one(other, other.name == one.name))",
            "a name is there twice",
        ),
    )
    spec = struct("Names for BGP communities.", communities=aliases)
    about = "Names for BGP communities, for use in BGPAdvertisements."
    return Definition(
        kind="Community", plural="communities", versions=(Version("v1beta1", about, spec),)
    )
