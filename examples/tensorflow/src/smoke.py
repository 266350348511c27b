"""Fits a small network on random numbers, on whatever accelerator is there; no download."""

import numpy as np
import tensorflow as tf

generator = np.random.default_rng(0)
inputs = generator.normal(size=(1024, 16)).astype("float32")
labels = (inputs.sum(axis=1) > 0).astype("float32")

model = tf.keras.Sequential([tf.keras.layers.Dense(32, activation="relu"), tf.keras.layers.Dense(1, activation="sigmoid")])
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
history = model.fit(inputs, labels, epochs=5, batch_size=64, verbose=0)

devices = [device.name for device in tf.config.list_physical_devices("GPU")] or ["cpu"]
print(f"TensorFlow {tf.__version__}: accuracy {history.history['accuracy'][-1]:.3f} on {', '.join(devices)}")
