//! Einsum: sums of products over named axes. Operands are multiplied from left to right; each product
//! is a stack of matrix products over the axes that both have.

use std::collections::BTreeMap;

use super::{ANY, Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::arithmetic;
use crate::error::{OpResult, invalid, unsupported};
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    registry.add(
        "Einsum",
        Entry {
            inputs: (1, ANY),
            outputs: 1,
            opsets: (12, NEWEST_OPSET),
            build: einsum,
        },
    );
}

/// The axes of one operand or of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    before: Vec<char>,
    /// Whether `...` stands between the two lists.
    rest: bool,
    after: Vec<char>,
}

impl Term {
    fn parse(text: &str) -> OpResult<Self> {
        let (before, rest, after) = match text.split_once("...") {
            Some((before, after)) => (before, true, after),
            None => (text, false, ""),
        };
        let letters: Vec<char> = before.chars().chain(after.chars()).collect();
        if !letters.iter().all(char::is_ascii_alphabetic) {
            return Err(invalid(format!(
                "attribute `equation`: `{text}`; letters and one `...` are legal"
            )));
        }
        let repeated = |(place, letter): (usize, &char)| letters[..place].contains(letter);
        if letters.iter().enumerate().any(repeated) {
            return Err(unsupported(format!(
                "diagonals (`{text}` names an axis twice); each axis once is supported"
            )));
        }
        let list = |part: &str| part.chars().collect();
        Ok(Self {
            before: list(before),
            rest,
            after: list(after),
        })
    }

    /// A label for each axis; the axes of `...` have digits, counted from the last one.
    fn labels(&self, rest: usize) -> OpResult<Vec<char>> {
        let digit = |place: usize| {
            let place = u32::try_from(place).ok();
            place.and_then(|place| char::from_digit(place, 36))
        };
        let digits: Option<Vec<char>> = (0..rest).rev().map(digit).collect();
        let digits = digits.ok_or_else(|| unsupported("`...` stands for more than 36 axes"))?;
        let digits = if self.rest { digits } else { Vec::new() };
        Ok([&self.before[..], &digits, &self.after].concat())
    }

    fn letters(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

#[derive(Debug)]
struct Einsum {
    terms: Vec<Term>,
    result: Term,
}

fn einsum(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let mut equation = spec.attributes.text("equation", "")?;
    equation.retain(|c| !c.is_whitespace());
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms = left.split(',').map(Term::parse);
    let terms = terms.collect::<OpResult<Vec<_>>>()?;
    if terms.len() != spec.inputs.len() {
        return Err(invalid(format!(
            "attribute `equation` `{equation}` has {} operands, the node {}",
            terms.len(),
            spec.inputs.len()
        )));
    }
    let result = match right {
        Some(text) => Term::parse(text)?,
        None => implicit(&terms),
    };
    Ok(Box::new(Einsum { terms, result }))
}

/// The result where the equation does not name it: `...`, then the letters met once, sorted.
fn implicit(terms: &[Term]) -> Term {
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    for letter in terms.iter().flat_map(|t| t.before.iter().chain(&t.after)) {
        *counts.entry(*letter).or_default() += 1;
    }
    Term {
        before: Vec::new(),
        rest: terms.iter().any(|term| term.rest),
        after: counts
            .into_iter()
            .filter_map(|(letter, count)| (count == 1).then_some(letter))
            .collect(),
    }
}

/// A tensor whose axes have labels.
struct Labelled {
    real: Real,
    labels: Vec<char>,
}

impl Operator for Einsum {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let mut operands = Vec::new();
        let mut most = 0;
        for (index, term) in self.terms.iter().enumerate() {
            let real = inputs.real(index)?;
            let rest = real.rank().checked_sub(term.letters());
            let rest = rest.filter(|&rest| term.rest || rest == 0).ok_or_else(|| {
                invalid(format!(
                    "input {index} has shape {:?}, the equation names {} axes",
                    real.dims(),
                    term.letters()
                ))
            })?;
            most = most.max(rest);
            let labels = term.labels(rest)?;
            operands.push(Labelled { real, labels });
        }
        let result = self.result.labels(most)?;
        let operands = same_sizes(operands)?;
        let mut product: Option<Labelled> = None;
        let mut left = operands.into_iter();
        while let Some(next) = left.next() {
            let kept = |label: &char| {
                result.contains(label) || left.as_slice().iter().any(|o| o.labels.contains(label))
            };
            product = Some(match product {
                None => next,
                Some(product) => pair(product, next, &kept, &inputs)?,
            });
        }
        let product = product.ok_or_else(|| invalid("operands are missing"))?;
        Ok(vec![arranged(product, &result)?.into()])
    }
}

/// The operands with axes of size 1 expanded to the size that their label has elsewhere.
fn same_sizes(operands: Vec<Labelled>) -> OpResult<Vec<Labelled>> {
    let mut sizes: BTreeMap<char, usize> = BTreeMap::new();
    for operand in &operands {
        for (&label, &dim) in operand.labels.iter().zip(operand.real.dims()) {
            let size = sizes.entry(label).or_insert(dim);
            if *size == 1 {
                *size = dim;
            }
            if dim != *size && dim != 1 {
                return Err(invalid(format!(
                    "axis `{label}` has sizes {} and {dim}",
                    *size
                )));
            }
        }
    }
    let full = |operand: Labelled| {
        let dims: Vec<usize> = operand.labels.iter().map(|label| sizes[label]).collect();
        Ok(Labelled {
            real: arithmetic::expanded(operand.real, &dims)?,
            labels: operand.labels,
        })
    };
    operands.into_iter().map(full).collect()
}

/// Product of two operands, summed over the axes that nothing after it needs.
fn pair(
    a: Labelled,
    b: Labelled,
    kept: &dyn Fn(&char) -> bool,
    inputs: &Inputs,
) -> OpResult<Labelled> {
    let a = without(a, |label, b| !kept(label) && !b.contains(label), &b.labels)?;
    let b = without(b, |label, a| !kept(label) && !a.contains(label), &a.labels)?;
    let pick = |from: &Labelled, wanted: &dyn Fn(&char) -> bool| -> Vec<char> {
        from.labels.iter().copied().filter(|l| wanted(l)).collect()
    };
    let stack = pick(&a, &|l| b.labels.contains(l) && kept(l));
    let inner = pick(&a, &|l| b.labels.contains(l) && !kept(l));
    let rows = pick(&a, &|l| !b.labels.contains(l));
    let columns = pick(&b, &|l| !a.labels.contains(l));
    let labels = [&stack[..], &rows, &columns].concat();
    let size = |from: &Labelled, list: &[char]| -> Vec<usize> {
        let place = |label: &char| from.labels.iter().position(|l| l == label);
        let places = list.iter().filter_map(place);
        places.map(|place| from.real.dims()[place]).collect()
    };
    let dims = [size(&a, &stack), size(&a, &rows), size(&b, &columns)].concat();
    inputs.check_elements(&dims)?;
    let count = |sizes: Vec<usize>| sizes.iter().product::<usize>();
    let [n, k] = [count(size(&a, &stack)), count(size(&a, &inner))];
    let [r, c] = [count(size(&a, &rows)), count(size(&b, &columns))];
    let a = arranged(a, &[&stack[..], &rows, &inner].concat())?.into_shape([n, r, k])?;
    let b = arranged(b, &[&stack[..], &inner, &columns].concat())?.into_shape([n, k, c])?;
    let real = Real::from_tensor(a.matmul(b)).reshape(&dims)?;
    Ok(Labelled { real, labels })
}

/// Sums over the axes for which `drop` holds, given the other operand's labels.
fn without(
    mut x: Labelled,
    drop: impl Fn(&char, &[char]) -> bool,
    other: &[char],
) -> OpResult<Labelled> {
    while let Some(place) = x.labels.iter().position(|label| drop(label, other)) {
        let mut dims = x.real.dims().to_vec();
        let outer: usize = dims[..place].iter().product();
        let inner: usize = dims[place + 1..].iter().product();
        let sum = x.real.into_shape([outer, dims[place], inner])?.sum_dim(1);
        dims.remove(place);
        x.labels.remove(place);
        x.real = Real::from_tensor(sum).reshape(&dims)?;
    }
    Ok(x)
}

/// The tensor with these axes in this order; all others are summed over.
fn arranged(x: Labelled, labels: &[char]) -> OpResult<Real> {
    let x = without(x, |label, wanted| !wanted.contains(label), labels)?;
    let place = |label: &char| {
        let place = x.labels.iter().position(|own| own == label);
        place.ok_or_else(|| invalid(format!("no operand has the axis `{label}` of the result")))
    };
    let order = labels.iter().map(place).collect::<OpResult<Vec<_>>>()?;
    x.real.permute(&order)
}
