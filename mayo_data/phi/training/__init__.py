"""Makes the training text of the PHI model and trains it: `python -m mayo_data.phi.training --out DIR --seed 1`.

Nothing of this is loaded at run time: `mayo_data.phi.model` reads the finished model.
"""
