//! Concepts on a sheet of paper: exact t-SNE of an embedding, and how far its neighbourhoods may be trusted.

mod affinities;
mod forces;
mod trustworthiness;
mod tsne;

pub use affinities::Affinities;
pub use trustworthiness::{default_neighbours, trustworthiness};
pub use tsne::{Tsne, TsneSettings, tsne};
