"""Features from Wikipedia: the page views of an article in one month."""

from __future__ import annotations

from calendar import monthrange
from functools import partial
from urllib.parse import quote

from pydantic import Field, NonNegativeInt

from edit_robustness.features.sources import NotFound, Shape, Sources, parse_response
from edit_robustness.web.transport import NOT_FOUND, RequestFailed, Response, Transport


class _Month(Shape):
    timestamp: str
    views: NonNegativeInt


class _Views(Shape):
    items: list[_Month]


class _Page(Shape):
    title: str
    missing: bool = False
    invalid: bool = False
    pageprops: dict[str, str] = Field({})


class _Pages(Shape):
    pages: list[_Page]


class _Query(Shape):
    query: _Pages


def read_views(response: Response, month: str) -> int | None:
    """Return the views in a response about one month; None if the server has no data (status 404).

    Raises:
        RequestFailed: If the response is not about exactly this month.
    """
    if response.status == NOT_FOUND:
        return None
    items = parse_response(response, _Views).items
    if [item.timestamp[:6] for item in items] != [month.replace("-", "")]:
        raise RequestFailed(f"the response is not about {month} only")
    return items[0].views


def read_page(response: Response) -> _Page:
    """Return the single page in a response, with redirects followed."""
    pages = parse_response(response, _Query).query.pages
    if len(pages) != 1:
        raise RequestFailed(f"the response has {len(pages)} pages instead of one")
    return pages[0]


def page_views(web: Transport, title: str, sources: Sources) -> int:
    """Look up the views of the article with exactly this title in `sources.month`.

    The server counts views by the requested title. Views of redirects, or of former titles of the article, are not
    included.

    Raises:
        RequestFailed: If there is no count. A failure is never stored as 0 or 1 views.
    """
    views = web.get(views_url(title, sources), {}, partial(read_views, month=sources.month))
    if views is None:
        raise NotFound(f"no views of {title!r} are known in {sources.month}")
    return views


def views_url(title: str, sources: Sources) -> str:
    """Return the URL for the views of a title from the first to the last day of the month."""
    year, month = map(int, sources.month.split("-"))
    days = [f"{year}{month:02}{day:02}00" for day in (1, monthrange(year, month)[1])]
    path_parts = [
        f"{sources.language}.wikipedia",
        sources.access,
        sources.agent,
        title.replace(" ", "_"),
        "monthly",
        *days,
    ]
    path = "/".join(quote(part, safe="") for part in path_parts)
    return f"{sources.endpoints.views}/metrics/pageviews/per-article/{path}"


def article(web: Transport, name: str, sources: Sources) -> str:
    """Look up the title of the article with a name, with redirects followed.

    Raises:
        NotFound: If there is no article, or only a disambiguation page.
        RequestFailed: If the request fails.
    """
    query = {
        "action": "query",
        "format": "json",
        "formatversion": "2",
        "titles": name,
        "redirects": "1",
        "prop": "pageprops",
        "ppprop": "disambiguation",
    }
    page = web.get(sources.endpoints.wikipedia.format(language=sources.language), query, read_page)
    if page.missing or page.invalid:
        raise NotFound(f"Wikipedia has no article {name!r}")
    if "disambiguation" in page.pageprops:
        raise NotFound(f"{page.title!r} is a disambiguation page; give the fact a subject_id")
    return page.title
