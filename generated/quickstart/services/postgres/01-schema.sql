-- Made before customers.csv is loaded, so that its columns have these types.
CREATE TABLE customers (
    customer_id   integer PRIMARY KEY,
    tenure_months integer NOT NULL,
    monthly_fee   numeric(8, 2) NOT NULL,
    support_calls integer NOT NULL,
    churned       integer NOT NULL CHECK (churned IN (0, 1))
);

CREATE TABLE predictions (
    customer_id       integer NOT NULL REFERENCES customers,
    run_id            text NOT NULL,
    churn_probability double precision NOT NULL,
    PRIMARY KEY (customer_id, run_id)
);
