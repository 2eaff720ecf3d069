"""The gallery in a Python shell or a notebook: `gallery.fit`, `gallery.load` and `gallery.compare`.

arrays.py     data in memory, in any usual form, as the arrays of an .npz file
request.py    model, data and settings of a fit from the arguments of `fit` and `compare`
fit.py        fit, load, and what they return
comparing.py  compare, and what it returns
"""
