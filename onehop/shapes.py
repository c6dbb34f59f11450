"""The legend of shape letters, used in every annotation and comment of the package.

| letter | size of |
|---|---|
| B | batch: sentences, documents; beams are folded in |
| T | query or target length, in tokens |
| S | key or source length, in tokens |
| D | model width |
| H | query heads |
| G | key/value heads |
| K | width of one head |
| V | vocabulary |
| L | layers |
| C | classes |
| F | width of an input feature |

`N` is used for rows that come from B and another letter flattened, and says which in its place.
"""
