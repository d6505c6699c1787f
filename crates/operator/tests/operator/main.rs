//! The operator against a real API server and the real controllers. The kubelets and the nodes are this test's: pods run when it
//! says so, and the ring is the model that the planner is tested by. Where the binaries are missing it says so.

mod certificates;
mod deaths;
mod founding;
mod hands;
mod leading;
mod machines;
mod names;
mod orphans;
mod preconditions;
mod requests;
mod rights;
mod scaling;
mod served;
mod support;
