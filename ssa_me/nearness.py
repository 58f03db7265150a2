"""From which cosine on two images pass for the same: one number for the library, the commands and the page.

It imports nothing, so that whoever only reads arguments need not load what compares images.
"""

NEAR_DUPLICATE = 0.94
"""The least cosine of near-duplicates, where one does not say another."""
