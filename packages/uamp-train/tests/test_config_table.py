from uamp_train.config import TrainConfig
from uamp_train.config_table import config_table


def test_every_key_has_a_row_with_a_meaning() -> None:
    rows = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in config_table().splitlines()[2:]]
    keys = [row[0] for row in rows]
    assert len(set(keys)) == len(keys)
    assert {f"`{name}`" for name in TrainConfig.model_fields} <= set(keys)
    assert {"`pool.clips`", "`stages[].steps`", "`mix[].weight`", "`augment.flip`", "`layers.head`"} <= set(keys)
    assert all(len(row) == 4 and row[3] for row in rows)


def test_values_and_defaults_are_as_the_models_check_them() -> None:
    table = config_table()
    assert "| `lr` | number > 0 | `0.0001` |" in table
    assert "| `precision` | `fp32`, `bf16` | `fp32` |" in table
    assert "| `val_image_size` | whole number ≥ 0, ≤ 2048, multiple of 32 | `0` |" in table
    assert "| `stages[].still_share` | number ≥ 0, ≤ 1 | none |" in table
