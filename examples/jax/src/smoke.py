"""Fits a line with optax, compiled for whatever device is there; no download."""

import jax
import jax.numpy as jnp
import optax

inputs = jax.random.normal(jax.random.key(0), (256,))
outputs = 3 * inputs - 1
optimizer = optax.adam(0.1)


def loss(parameters):
    return jnp.mean((parameters["slope"] * inputs + parameters["offset"] - outputs) ** 2)


@jax.jit
def step(parameters, state):
    updates, state = optimizer.update(jax.grad(loss)(parameters), state)
    return optax.apply_updates(parameters, updates), state


parameters = {"slope": jnp.zeros(()), "offset": jnp.zeros(())}
state = optimizer.init(parameters)
for _ in range(200):
    parameters, state = step(parameters, state)

fitted = {name: round(float(value), 3) for name, value in parameters.items()}
print(f"JAX {jax.__version__} on {jax.devices()[0]}: {fitted}")
