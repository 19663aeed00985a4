"""Parts of a source that fail while the others work: `self.troubles` of every source.

A source notes them there; the result of the probe is then `Outcome.TROUBLED`, with the texts.
"""

from pollect.troubles import Troubles

__all__ = ["Troubles"]
