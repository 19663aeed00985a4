from random import random

from pollect.sources.Source import Source


class MultiRandomSource(Source):
    def __init__(self, data):
        super().__init__(data)
        self.max = data.get('max')

    def _probe(self):
        return {
            'a': random() * self.max,
            'b': random() * self.max,
        }
