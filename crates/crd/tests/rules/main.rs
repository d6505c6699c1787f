//! The rules of the resource, from one table (`cases`), held to by two judges: by an evaluator of CEL in this process
//! (`evaluated`), and by a real API server (`served`), which also knows defaults, bounds and what a rule may cost. What
//! else only a server knows: status, scale and columns (`subresources`), and what is stored already (`stored`).

mod applied;
mod cases;
mod evaluated;
mod served;
mod server;
mod stored;
mod subresources;
