"""A training step of a small transformer on whatever accelerator is there; no download."""

import torch
import transformers

device = "cuda" if torch.cuda.is_available() else "cpu"
config = transformers.BertConfig(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256)
model = transformers.BertForMaskedLM(config).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
tokens = torch.randint(0, config.vocab_size, (8, 64), device=device)

for step in range(5):
    loss = model(input_ids=tokens, labels=tokens).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step}: loss {loss.item():.3f}")

name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, on {name}")
