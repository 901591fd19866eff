//! `langspan batch`, as a user, a model and a Langfuse see it.

mod delivery;
mod gate;
mod pace;
