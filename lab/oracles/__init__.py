"""Oracle models: tiny random models of every supported architecture with golden hidden states and token ids.

`python -m lab.oracles --llama-cpp DIR --out test/fixtures/oracles` regenerates everything; see README.md.
"""
