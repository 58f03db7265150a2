"""Reports: one HTML file that shows everything and fetches nothing, for people to keep and to send.

`page` puts a page together out of sections; `inspection` says what is known of one image and one query, `plots` draws it.
"""

from ssa_me.report.page import Markup, Section, code, facts, figure, note, page, paragraph, table

__all__ = ["Markup", "Section", "code", "facts", "figure", "note", "page", "paragraph", "table"]
