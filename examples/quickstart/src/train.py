"""Trains a churn model on the customers of a database, and writes its predictions back.

DATABASE_URL and MLFLOW_TRACKING_URI come from the Compose stack. Without the first, customers are read from data/customers.csv
and predictions are printed; without the second, nothing is tracked.
"""

import os
from pathlib import Path

import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FEATURES = ["tenure_months", "monthly_fee", "support_calls"]
PARAMETERS = {"C": 1.0, "max_iter": 200}


def read_customers(database_url: str | None) -> pd.DataFrame:
    if database_url is None:
        return pd.read_csv(Path(__file__).parent.parent / "data" / "customers.csv")
    import psycopg2

    columns = ["customer_id", *FEATURES, "churned"]
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(columns)} FROM customers ORDER BY customer_id")
        return pd.DataFrame(cursor.fetchall(), columns=columns).astype({"monthly_fee": float})


def write_predictions(database_url: str, run_id: str, predictions: pd.DataFrame) -> None:
    import psycopg2
    from psycopg2.extras import execute_values

    rows = [(int(row.customer_id), run_id, float(row.churn_probability)) for row in predictions.itertuples()]
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        execute_values(cursor, "INSERT INTO predictions (customer_id, run_id, churn_probability) VALUES %s", rows)


def track(model, metrics: dict[str, float], example: pd.DataFrame) -> str:
    """Logs parameters, metrics and the model to MLflow; returns the run's id."""
    import mlflow

    mlflow.set_experiment("churn")
    with mlflow.start_run() as run:
        mlflow.log_params(PARAMETERS)
        mlflow.log_metrics(metrics)
        mlflow.sklearn.log_model(model, name="model", input_example=example)
    return run.info.run_id


def main() -> None:
    database_url = os.environ.get("DATABASE_URL")
    customers = read_customers(database_url)
    training, held_out = train_test_split(customers, test_size=0.25, random_state=0, stratify=customers["churned"])

    model = make_pipeline(StandardScaler(), LogisticRegression(**PARAMETERS))
    model.fit(training[FEATURES], training["churned"])
    metrics = {"roc_auc": float(roc_auc_score(held_out["churned"], model.predict_proba(held_out[FEATURES])[:, 1]))}

    run_id = "untracked"
    if "MLFLOW_TRACKING_URI" in os.environ:
        run_id = track(model, metrics, training[FEATURES].head(3).astype(float))

    predictions = customers[["customer_id"]].assign(churn_probability=model.predict_proba(customers[FEATURES])[:, 1])
    if database_url is None:
        print(predictions.nlargest(5, "churn_probability").to_string(index=False))
    else:
        write_predictions(database_url, run_id, predictions)
    print(f"{len(training)} customers trained on, {len(predictions)} scored, roc_auc {metrics['roc_auc']:.3f}, run {run_id}")


if __name__ == "__main__":
    main()
