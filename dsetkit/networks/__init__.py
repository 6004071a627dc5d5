"""Networks that answer with masks and depths: checkpoints of a clone, and ONNX files.

Its modules are its face: torch, ONNX Runtime and the clone's networks are loaded only when asked
for.
"""
