//! A plain tree of what PostgreSQL's parser returns, so that one walk sees every node kind, those of later versions too.
//!
//! The parser's own walk follows a chosen subset of nodes. What it doesn't follow would be a hole, so this one follows
//! the serde form of the whole tree: structs by name, their fields by name, lists, texts and numbers.

use serde::ser::{self, Serialize};
use std::fmt;

/// A node of the tree.
#[derive(Debug, Default)]
pub(super) enum Tree {
    /// Nothing, or a value that no fact needs.
    #[default]
    None,
    /// A truth value.
    Bool(bool),
    /// A number; enumerations are numbers too.
    Int(i64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// A struct: its name and its fields that are not empty.
    Node(&'static str, Vec<(&'static str, Tree)>),
}

impl Tree {
    /// The tree of a value.
    pub(super) fn of(value: &impl Serialize) -> Self {
        value.serialize(Builder).unwrap_or_default()
    }

    /// The field of this name; [`Tree::None`] where there is none.
    pub(super) fn field(&self, name: &str) -> &Tree {
        static NONE: Tree = Tree::None;
        match self {
            Self::Node(_, fields) => fields.iter().find(|(field, _)| *field == name).map_or(&NONE, |(_, tree)| tree),
            _ => &NONE,
        }
    }

    /// The name of the struct, or the empty string.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Node(kind, _) => kind,
            _ => "",
        }
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(super) fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    pub(super) fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            _ => 0,
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    pub(super) fn items(&self) -> &[Tree] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The trees directly below, in the order of the text's grammar.
    pub(super) fn children(&self) -> Box<dyn Iterator<Item = &Tree> + '_> {
        match self {
            Self::List(items) => Box::new(items.iter()),
            Self::Node(_, fields) => Box::new(fields.iter().map(|(_, tree)| tree)),
            _ => Box::new(std::iter::empty()),
        }
    }
}

/// Never happens: the builder accepts every shape.
#[derive(Debug)]
pub(super) struct Never;

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no tree")
    }
}
impl std::error::Error for Never {}
impl ser::Error for Never {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

struct Builder;
struct Items(Vec<Tree>);
struct Fields(&'static str, Vec<(&'static str, Tree)>);

type Built = Result<Tree, Never>;

macro_rules! ints {
    ($($method:ident: $ty:ty),*) => {
        $(fn $method(self, value: $ty) -> Built {
            Ok(if value == 0 { Tree::None } else { i64::try_from(value).map_or(Tree::None, Tree::Int) })
        })*
    };
}

impl ser::Serializer for Builder {
    type Ok = Tree;
    type Error = Never;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = ser::Impossible<Tree, Never>;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    ints!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64);
    ints!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64);

    fn serialize_bool(self, value: bool) -> Built {
        Ok(if value { Tree::Bool(true) } else { Tree::None })
    }
    fn serialize_f32(self, _: f32) -> Built {
        Ok(Tree::None)
    }
    fn serialize_f64(self, _: f64) -> Built {
        Ok(Tree::None)
    }
    fn serialize_char(self, value: char) -> Built {
        Ok(Tree::Text(value.to_string()))
    }
    fn serialize_str(self, value: &str) -> Built {
        Ok(if value.is_empty() { Tree::None } else { Tree::Text(value.to_owned()) })
    }
    fn serialize_bytes(self, _: &[u8]) -> Built {
        Ok(Tree::None)
    }
    fn serialize_none(self) -> Built {
        Ok(Tree::None)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Built {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Built {
        Ok(Tree::None)
    }
    fn serialize_unit_struct(self, name: &'static str) -> Built {
        Ok(Tree::Node(name, Vec::new()))
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Built {
        Ok(Tree::Node(variant, Vec::new()))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Built {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Built {
        // A variant of a oneof holds a struct of its own name; a scalar keeps the variant's name around it.
        Ok(match value.serialize(self)? {
            node @ Tree::Node(..) => node,
            scalar => Tree::Node(variant, vec![("value", scalar)]),
        })
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<Items, Never> {
        Ok(Items(Vec::with_capacity(len.unwrap_or(0))))
    }
    fn serialize_tuple(self, len: usize) -> Result<Items, Never> {
        self.serialize_seq(Some(len))
    }
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Items, Never> {
        self.serialize_seq(Some(len))
    }
    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, len: usize) -> Result<Items, Never> {
        self.serialize_seq(Some(len))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Never> {
        Err(Never)
    }
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields, Never> {
        Ok(Fields(name, Vec::new()))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields, Never> {
        Ok(Fields(variant, Vec::new()))
    }
}

impl Items {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        self.0.push(value.serialize(Builder)?);
        Ok(())
    }
    fn done(self) -> Built {
        Ok(if self.0.is_empty() { Tree::None } else { Tree::List(self.0) })
    }
}

impl Fields {
    fn add<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Never> {
        match value.serialize(Builder)? {
            Tree::None => {}
            tree => self.1.push((key, tree)),
        }
        Ok(())
    }
    fn done(mut self) -> Built {
        // `Node { node: … }` is a wrapper without a meaning of its own.
        if self.0 == "Node" && self.1.len() == 1 {
            return Ok(self.1.remove(0).1);
        }
        Ok(Tree::Node(self.0, self.1))
    }
}

macro_rules! sequence {
    ($($of:ident::$add:ident),*) => {
        $(impl ser::$of for Items {
            type Ok = Tree;
            type Error = Never;
            fn $add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
                self.add(value)
            }
            fn end(self) -> Built {
                self.done()
            }
        })*
    };
}
sequence!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

macro_rules! structure {
    ($($of:ident),*) => {
        $(impl ser::$of for Fields {
            type Ok = Tree;
            type Error = Never;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Never> {
                self.add(key, value)
            }
            fn end(self) -> Built {
                self.done()
            }
        })*
    };
}
structure!(SerializeStruct, SerializeStructVariant);
