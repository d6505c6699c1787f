//! `dynamo cart`: the paper's shopping cart. Siblings are merged by union, so that an added item is never lost (§4.4).

use std::collections::BTreeSet;

use bytes::Bytes;
use clap::{Args, Subcommand};
use dynamo_client::{Client, Put};
use serde_json::json;

use crate::{args, failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  dynamo cart add alice book
  dynamo cart add alice pen
  dynamo cart show alice

Carts that were changed concurrently become siblings, and are merged by union: an added item is never lost. The price, \
as in the paper (§4.4): an item that was removed can come back when the cart was changed concurrently. \
A cart is the key `cart:NAME`; its value is a JSON array of items.";

/// A shopping cart, as in the paper
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Adds an item
    Add(Change),
    /// Removes an item; it can come back if the cart was changed concurrently (§4.4)
    #[command(after_help = EXAMPLES)]
    Remove(Change),
    /// Shows the items, siblings merged
    Show(Cart),
}

#[derive(Debug, Args)]
struct Change {
    /// Whose cart
    cart: String,
    /// The item
    #[arg(allow_hyphen_values = true)]
    item: String,
    /// How many replicas have to hold the change [default: the bucket's W]
    #[arg(short, value_parser = clap::value_parser!(u32).range(1..), value_name = "REPLICAS")]
    w: Option<u32>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Cart {
    /// Whose cart
    cart: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// How many replicas have to answer the read [default: the bucket's R]
    #[arg(short, value_parser = clap::value_parser!(u32).range(1..), value_name = "REPLICAS")]
    r: Option<u32>,
    #[command(flatten)]
    bucket: args::Bucket,
    #[command(flatten)]
    endpoint: args::Endpoint,
    #[command(flatten)]
    output: args::Output,
}

/// A cart's items, each once.
type Items = BTreeSet<String>;

/// A cart as it was read.
struct Read {
    items: Items,
    /// 0 for a cart that was never filled.
    versions: usize,
    context: Bytes,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Add(change) => {
                let (client, mut cart) = change.read().await?;
                cart.items.insert(change.item.clone());
                change.write(&client, cart).await
            }
            Action::Remove(change) => {
                let (client, mut cart) = change.read().await?;
                if !cart.items.remove(&change.item) {
                    return Err(Failure::not_found(format!("{} is not in {}'s cart", change.item, change.cart)));
                }
                change.write(&client, cart).await
            }
            Action::Show(show) => {
                let client = show.common.endpoint.connect().await?;
                let cart = show.common.read(&client, &show.cart).await?;
                if cart.versions == 0 {
                    if show.common.output.json() {
                        show.common.print(&show.cart, &cart.items, 0)?;
                    }
                    return Err(Failure::not_found(format!("there is no cart of {}", show.cart)));
                }
                if cart.versions > 1 {
                    eprintln!(
                        "note: shows {} siblings merged by union; the next add or remove writes them merged",
                        cart.versions
                    );
                }
                show.common.print(&show.cart, &cart.items, cart.versions)
            }
        }
    }
}

impl Change {
    async fn read(&self) -> Result<(Client, Read), Failure> {
        let client = self.common.endpoint.connect().await?;
        let cart = self.common.read(&client, &self.cart).await?;
        Ok((client, cart))
    }

    async fn write(&self, client: &Client, cart: Read) -> Result<(), Failure> {
        let put = Put {
            bucket: self.common.bucket.bucket.clone(),
            key: key(&self.cart),
            value: serde_json::to_vec(&cart.items).expect("strings can be written").into(),
            context: cart.context,
            w: self.w,
        };
        let written = client.put(put).await?;
        if cart.versions > 1 {
            eprintln!("note: merged {} siblings by union", cart.versions);
        }
        if written.siblings > 1 {
            eprintln!("note: somebody changed the cart at the same time; the next look at it merges both");
        }
        self.common.print(&self.cart, &cart.items, written.siblings as usize)
    }
}

impl Common {
    async fn read(&self, client: &Client, cart: &str) -> Result<Read, Failure> {
        let found = client.get(&self.bucket.bucket, key(cart), self.r).await?;
        let items = merge(&found.values).map_err(|problem| {
            Failure::usage(format!("cart:{cart} holds something that is no cart ({problem}). It was left as it is"))
        })?;
        Ok(Read { items, versions: found.values.len(), context: found.context })
    }

    fn print(&self, cart: &str, items: &Items, siblings: usize) -> Result<(), Failure> {
        if self.output.json() {
            return output::document(&json!({ "cart": cart, "items": items, "siblings": siblings }));
        }
        match items.is_empty() {
            true => output::line(format!("{cart}: empty")),
            false => output::line(format!("{cart}: {}", items.iter().cloned().collect::<Vec<_>>().join(", "))),
        }
    }
}

fn key(cart: &str) -> Bytes {
    format!("cart:{cart}").into()
}

/// The union of all siblings.
fn merge(siblings: &[Bytes]) -> Result<Items, serde_json::Error> {
    let mut union = Items::new();
    for sibling in siblings {
        union.append(&mut serde_json::from_slice::<Items>(sibling)?);
    }
    Ok(union)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cart(items: &[&str]) -> Bytes {
        serde_json::to_vec(items).unwrap().into()
    }

    #[test]
    fn concurrent_carts_merge_to_their_union_in_any_order() {
        let (a, b) = (cart(&["book", "pen"]), cart(&["apple", "book"]));
        let merged = merge(&[a.clone(), b.clone()]).unwrap();
        assert_eq!(merged.iter().collect::<Vec<_>>(), ["apple", "book", "pen"]);
        assert_eq!(merged, merge(&[b, a]).unwrap());
    }

    #[test]
    fn a_removed_item_comes_back_from_a_sibling_that_never_saw_the_removal() {
        let merged = merge(&[cart(&["book"]), cart(&["book", "pen"])]).unwrap();
        assert!(merged.contains("pen"));
    }

    #[test]
    fn something_else_under_the_key_is_told_and_not_overwritten() {
        assert!(merge(&[Bytes::from_static(b"hello")]).is_err());
        assert!(merge(&[Bytes::from_static(b"{\"a\":1}")]).is_err());
        assert!(merge(&[]).unwrap().is_empty());
    }
}
