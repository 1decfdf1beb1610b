"""Where features are looked up, and how an answer becomes a value of the shape that was asked for."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from edit_robustness.setting_types import STRICT
from edit_robustness.web.transport import SHOWN, NoAnswer, Response


class NotFound(NoAnswer):
    """The server answered, and what was looked for is not there."""


@dataclass(frozen=True, config=STRICT)
class Endpoints:
    """Addresses of the services; another Wikibase, a mirror or a test has its own.

    Attributes:
        views: Wikimedia's REST interface.
        wikipedia: MediaWiki's interface of one Wikipedia, with ``{language}``.
        wikidata: MediaWiki's interface of Wikidata.
        sparql: A query service over Wikidata, with its prefixes.
    """

    views: str = "https://wikimedia.org/api/rest_v1"
    wikipedia: str = "https://{language}.wikipedia.org/w/api.php"
    wikidata: str = "https://www.wikidata.org/w/api.php"
    sparql: str = "https://query.wikidata.org/sparql"


@dataclass(frozen=True, config=STRICT)
class Sources:
    """What is looked up, beside the facts.

    Attributes:
        month: Of the page views, ``2021-10``: the month of arXiv 2402.05827.
        language: Of the Wikipedia, and of the names by which items are searched.
        access: Page views by ``all-access``, ``desktop``, ``mobile-app`` or ``mobile-web``.
        agent: Page views by ``all-agents``, ``user``, ``spider`` or ``automated``.
        endpoints: Where.
    """

    month: Annotated[str, Field(pattern=r"^20\d\d-(0[1-9]|1[0-2])$")] = "2021-10"
    language: Annotated[str, Field(pattern=r"^[a-z][a-z-]+$")] = "en"
    access: Annotated[str, Field(pattern="^(all-access|desktop|mobile-app|mobile-web)$")] = "all-access"
    agent: Annotated[str, Field(pattern="^(all-agents|user|spider|automated)$")] = "all-agents"
    endpoints: Endpoints = Field(default_factory=Endpoints)


class Shape(BaseModel):
    """An answer's shape: the parts that are used, of exactly these types; the rest is passed over."""

    model_config = ConfigDict(strict=True, frozen=True)


S = TypeVar("S", bound=Shape)


def shaped(response: Response, shape: type[S]) -> S:
    """An answer in JSON, checked.

    Raises:
        NoAnswer: If it is of another shape, or MediaWiki's report of an error (which has status 200).
    """
    plain: Any = response.json()
    if isinstance(plain, dict) and "error" in plain:
        error = plain["error"]
        said = error.get("code") if isinstance(error, dict) else error
        raise NoAnswer(f"the server reports {str(said)[:SHOWN]!r}")
    try:
        return shape.model_validate(plain)
    except ValidationError as failure:
        first = failure.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise NoAnswer(f"the answer has another shape: {place}: {first['msg']}") from None
