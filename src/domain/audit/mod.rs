//! What goes on record of what people do: text of peers in a form that harms no terminal, and deeds of clients.

mod deed;
mod text;

pub use deed::{Deed, Finish, Started};
pub use text::{Escaped, PeerText};
