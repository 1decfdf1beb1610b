"""Settings of the services for features, and the validation of their responses."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from edit_robustness.setting_types import STRICT
from edit_robustness.web.transport import SHOWN, RequestFailed, Response


class NotFound(RequestFailed):
    """The server responded, but the requested item does not exist."""


@dataclass(frozen=True, config=STRICT)
class Endpoints:
    """Addresses of the services; change them to use another Wikibase or a mirror.

    Attributes:
        views: REST API of Wikimedia.
        wikipedia: MediaWiki API of one Wikipedia, with ``{language}``.
        wikidata: MediaWiki API of Wikidata.
        sparql: SPARQL endpoint of Wikidata.
    """

    views: str = "https://wikimedia.org/api/rest_v1"
    wikipedia: str = "https://{language}.wikipedia.org/w/api.php"
    wikidata: str = "https://www.wikidata.org/w/api.php"
    sparql: str = "https://query.wikidata.org/sparql"


@dataclass(frozen=True, config=STRICT)
class Sources:
    """Settings of look-ups.

    Attributes:
        month: Month of the page views; ``2021-10`` as in arXiv 2402.05827.
        language: Language of the Wikipedia, and of the names by which items are searched.
        access: Access of the page views: ``all-access``, ``desktop``, ``mobile-app`` or ``mobile-web``.
        agent: Agents of the page views: ``all-agents``, ``user``, ``spider`` or ``automated``.
        endpoints: Addresses of the services.
    """

    month: Annotated[str, Field(pattern=r"^20\d\d-(0[1-9]|1[0-2])$")] = "2021-10"
    language: Annotated[str, Field(pattern=r"^[a-z][a-z-]+$")] = "en"
    access: Annotated[str, Field(pattern="^(all-access|desktop|mobile-app|mobile-web)$")] = "all-access"
    agent: Annotated[str, Field(pattern="^(all-agents|user|spider|automated)$")] = "all-agents"
    endpoints: Endpoints = Field(default_factory=Endpoints)


def describe_views(sources: Sources) -> str:
    """Return what looked-up page views measure: the Wikipedia, the month, and access and agents unless all count."""
    parts = [f"{sources.language}.wikipedia", sources.month, sources.access, sources.agent]
    return ", ".join(part for part in parts if not part.startswith("all-"))


class Shape(BaseModel):
    """Base class for the parts of a response that are used, with strict types; other parts are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)


S = TypeVar("S", bound=Shape)


def parse_response(response: Response, shape: type[S]) -> S:
    """Validate a JSON response.

    Raises:
        RequestFailed: If it has another shape, or is an error report of MediaWiki (which has status 200).
    """
    content: Any = response.json()
    if isinstance(content, dict) and "error" in content:
        error = content["error"]
        code = error.get("code") if isinstance(error, dict) else error
        raise RequestFailed(f"the server reports {str(code)[:SHOWN]!r}")
    try:
        return shape.model_validate(content)
    except ValidationError as failure:
        first = failure.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise RequestFailed(f"the response has an unexpected shape: {place}: {first['msg']}") from None
