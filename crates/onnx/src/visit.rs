//! Every tensor of a model in one fixed order.
//!
//! The order: the main graph; then each function: its attribute defaults, its nodes; then each
//! training information: its initialization graph, its algorithm graph. Within a graph: initializers;
//! then nodes, of each its attributes, of each attribute `t`, `tensors`, `sparse_tensor`,
//! `sparse_tensors`, then the graphs `g` and `graphs` depth first; then the sparse initializers. Of a
//! sparse tensor: its values, then its indices.

use crate::model::{
    AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto,
};

/// What a tensor is in its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorKind {
    /// An initializer of a graph.
    Initializer,
    /// An attribute of a node, or a function's default of one.
    Attribute,
    /// The values of a sparse tensor.
    SparseValues,
    /// The indices of a sparse tensor.
    SparseIndices,
}

/// Where a tensor stands in its model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSite {
    /// Position in the order of this module, from 0.
    pub index: usize,
    /// The tensor's own name, empty when it has none.
    pub name: String,
    /// What the tensor is.
    pub kind: TensorKind,
    /// The path of fields to it, such as `graph.node[3].attribute[0].t`.
    pub place: String,
}

/// Calls `f` with every tensor, in this module's order.
pub fn tensors(model: &ModelProto, f: impl FnMut(&TensorSite, &TensorProto)) {
    shared::Walk::new(f).model(model);
}

/// Calls `f` with every tensor, in this module's order, to be changed.
pub fn tensors_mut(model: &mut ModelProto, f: impl FnMut(&TensorSite, &mut TensorProto)) {
    exclusive::Walk::new(f).model(model);
}

/// The walk, once for `&` and once for `&mut`.
macro_rules! walk {
    ($room:ident, $iter:ident, $as_ref:ident, $($mutable:tt)?) => {
        mod $room {
            use super::*;

            pub(super) struct Walk<F> {
                f: F,
                index: usize,
                place: String,
            }

            impl<F: FnMut(&TensorSite, & $($mutable)? TensorProto)> Walk<F> {
                pub(super) fn new(f: F) -> Self {
                    Self { f, index: 0, place: String::new() }
                }

                pub(super) fn model(&mut self, model: & $($mutable)? ModelProto) {
                    if let Some(graph) = model.graph.$as_ref() {
                        self.below("graph", None, |walk| walk.graph(graph));
                    }
                    for (i, function) in model.functions.$iter().enumerate() {
                        self.below("functions", Some(i), |walk| {
                            walk.attributes("attribute_proto", & $($mutable)? function.attribute_proto);
                            walk.nodes(& $($mutable)? function.node);
                        });
                    }
                    for (i, training) in model.training_info.$iter().enumerate() {
                        self.below("training_info", Some(i), |walk| {
                            if let Some(graph) = training.initialization.$as_ref() {
                                walk.below("initialization", None, |walk| walk.graph(graph));
                            }
                            if let Some(graph) = training.algorithm.$as_ref() {
                                walk.below("algorithm", None, |walk| walk.graph(graph));
                            }
                        });
                    }
                }

                fn graph(&mut self, graph: & $($mutable)? GraphProto) {
                    for (i, tensor) in graph.initializer.$iter().enumerate() {
                        self.tensor("initializer", Some(i), TensorKind::Initializer, tensor);
                    }
                    self.nodes(& $($mutable)? graph.node);
                    for (i, sparse) in graph.sparse_initializer.$iter().enumerate() {
                        self.sparse("sparse_initializer", Some(i), sparse);
                    }
                }

                fn nodes(&mut self, nodes: & $($mutable)? [NodeProto]) {
                    for (i, node) in nodes.$iter().enumerate() {
                        self.below("node", Some(i), |walk| {
                            walk.attributes("attribute", & $($mutable)? node.attribute);
                        });
                    }
                }

                fn attributes(&mut self, name: &str, attributes: & $($mutable)? [AttributeProto]) {
                    for (i, attribute) in attributes.$iter().enumerate() {
                        self.below(name, Some(i), |walk| walk.attribute(attribute));
                    }
                }

                fn attribute(&mut self, attribute: & $($mutable)? AttributeProto) {
                    if let Some(tensor) = attribute.t.$as_ref() {
                        self.tensor("t", None, TensorKind::Attribute, tensor);
                    }
                    for (i, tensor) in attribute.tensors.$iter().enumerate() {
                        self.tensor("tensors", Some(i), TensorKind::Attribute, tensor);
                    }
                    if let Some(sparse) = attribute.sparse_tensor.$as_ref() {
                        self.sparse("sparse_tensor", None, sparse);
                    }
                    for (i, sparse) in attribute.sparse_tensors.$iter().enumerate() {
                        self.sparse("sparse_tensors", Some(i), sparse);
                    }
                    if let Some(graph) = attribute.g.$as_ref() {
                        self.below("g", None, |walk| walk.graph(graph));
                    }
                    for (i, graph) in attribute.graphs.$iter().enumerate() {
                        self.below("graphs", Some(i), |walk| walk.graph(graph));
                    }
                }

                fn sparse(
                    &mut self,
                    name: &str,
                    index: Option<usize>,
                    sparse: & $($mutable)? SparseTensorProto,
                ) {
                    self.below(name, index, |walk| {
                        if let Some(tensor) = sparse.values.$as_ref() {
                            walk.tensor("values", None, TensorKind::SparseValues, tensor);
                        }
                        if let Some(tensor) = sparse.indices.$as_ref() {
                            walk.tensor("indices", None, TensorKind::SparseIndices, tensor);
                        }
                    });
                }

                fn tensor(
                    &mut self,
                    name: &str,
                    index: Option<usize>,
                    kind: TensorKind,
                    tensor: & $($mutable)? TensorProto,
                ) {
                    self.below(name, index, |walk| {
                        let site = TensorSite {
                            index: walk.index,
                            name: tensor.name().to_string(),
                            kind,
                            place: walk.place.clone(),
                        };
                        walk.index += 1;
                        (walk.f)(&site, tensor);
                    });
                }

                /// Runs `inside` with the place of a field below the present one.
                fn below(&mut self, name: &str, index: Option<usize>, inside: impl FnOnce(&mut Self)) {
                    let outer = self.place.len();
                    if outer > 0 {
                        self.place.push('.');
                    }
                    self.place.push_str(name);
                    if let Some(index) = index {
                        self.place.push_str(&format!("[{index}]"));
                    }
                    inside(self);
                    self.place.truncate(outer);
                }
            }
        }
    };
}

walk!(shared, iter, as_ref,);
walk!(exclusive, iter_mut, as_mut, mut);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FunctionProto, TrainingInfoProto};

    fn named(name: &str) -> TensorProto {
        TensorProto {
            name: Some(name.into()),
            ..TensorProto::default()
        }
    }

    fn sparse(name: &str) -> SparseTensorProto {
        SparseTensorProto {
            values: Some(named(&format!("{name}.values"))),
            indices: Some(named(&format!("{name}.indices"))),
            ..SparseTensorProto::default()
        }
    }

    fn graph(name: &str, inner: Option<GraphProto>) -> GraphProto {
        let attribute = AttributeProto {
            t: Some(Box::new(named(&format!("{name}.t")))),
            tensors: vec![named(&format!("{name}.tensors"))],
            sparse_tensor: Some(Box::new(sparse(&format!("{name}.sparse")))),
            sparse_tensors: vec![sparse(&format!("{name}.list"))],
            g: inner.clone().map(Box::new),
            graphs: inner.into_iter().collect(),
            ..AttributeProto::default()
        };
        let node = NodeProto {
            attribute: vec![attribute],
            ..NodeProto::default()
        };
        GraphProto {
            initializer: vec![named(&format!("{name}.init"))],
            sparse_initializer: vec![sparse(&format!("{name}.last"))],
            node: vec![node],
            ..GraphProto::default()
        }
    }

    fn model() -> ModelProto {
        ModelProto {
            graph: Some(graph("main", Some(graph("inner", None)))),
            functions: vec![FunctionProto {
                attribute_proto: vec![AttributeProto {
                    t: Some(Box::new(named("default"))),
                    ..AttributeProto::default()
                }],
                node: graph("body", None).node,
                ..FunctionProto::default()
            }],
            training_info: vec![TrainingInfoProto {
                initialization: Some(graph("start", None)),
                algorithm: Some(graph("step", None)),
                ..TrainingInfoProto::default()
            }],
            ..ModelProto::default()
        }
    }

    fn of_attribute(name: &str) -> Vec<String> {
        let all = [
            "t",
            "tensors",
            "sparse.values",
            "sparse.indices",
            "list.values",
            "list.indices",
        ];
        all.map(|field| format!("{name}.{field}")).to_vec()
    }

    fn of_graph(name: &str, inner: &[String]) -> Vec<String> {
        let mut all = vec![format!("{name}.init")];
        all.extend(of_attribute(name));
        all.extend_from_slice(inner);
        all.extend(["values", "indices"].map(|field| format!("{name}.last.{field}")));
        all
    }

    #[test]
    fn tensors_come_in_the_documented_order() {
        let inner = of_graph("inner", &[]);
        let expected = [
            of_graph("main", &[inner.clone(), inner].concat()),
            vec!["default".to_string()],
            of_attribute("body"),
            of_graph("start", &[]),
            of_graph("step", &[]),
        ]
        .concat();
        let mut model = model();
        let (mut names, mut sites) = (Vec::new(), Vec::new());
        tensors(&model, |site, tensor| {
            assert_eq!(site.index, names.len());
            assert_eq!(site.name, tensor.name());
            names.push(site.name.clone());
            sites.push(site.clone());
        });
        assert_eq!(names, expected);
        let mut sites_mut = Vec::new();
        tensors_mut(&mut model, |site, tensor| {
            tensor.name = Some(site.place.clone());
            sites_mut.push(site.clone());
        });
        assert_eq!(sites, sites_mut);
        let last = model.training_info[0].algorithm.as_ref().expect("graph");
        let indices = last.sparse_initializer[0]
            .indices
            .as_ref()
            .expect("indices");
        assert_eq!(
            indices.name(),
            "training_info[0].algorithm.sparse_initializer[0].indices"
        );
        assert_eq!(sites[1].place, "graph.node[0].attribute[0].t");
        assert_eq!(sites[0].kind, TensorKind::Initializer);
        assert_eq!(sites[3].kind, TensorKind::SparseValues);
    }
}
