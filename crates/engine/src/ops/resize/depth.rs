//! DepthToSpace and SpaceToDepth: blocks of pixels to channels and back.

use super::super::shape::{permuted, reshaped};
use super::super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::error::{OpResult, invalid};
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    let entry = |build| Entry {
        inputs: (1, 1),
        outputs: 1,
        opsets: (1, NEWEST_OPSET),
        build,
    };
    registry.add("DepthToSpace", entry(depth_to_space));
    registry.add("SpaceToDepth", entry(space_to_depth));
}

#[derive(Debug)]
struct Blocks {
    size: usize,
    direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// To space; channels are (row in block, column in block, channel): DCR.
    RowsFirst,
    /// To space; channels are (channel, row in block, column in block): CRD.
    ChannelsFirst,
    /// To depth.
    Gather,
}

fn block_size(spec: &NodeSpec) -> OpResult<usize> {
    let size = spec
        .attributes
        .optional_int("blocksize")?
        .ok_or_else(|| invalid("attribute `blocksize` is missing"))?;
    usize::try_from(size)
        .ok()
        .filter(|size| (1..=1 << 12).contains(size))
        .ok_or_else(|| {
            invalid(format!(
                "attribute `blocksize` is {size}; 1 to 4096 is legal here"
            ))
        })
}

fn depth_to_space(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let order = if spec.opset >= 11 {
        spec.attributes.choice("mode", "DCR", &["DCR", "CRD"])?
    } else {
        0
    };
    Ok(Box::new(Blocks {
        size: block_size(spec)?,
        direction: if order == 0 {
            Direction::RowsFirst
        } else {
            Direction::ChannelsFirst
        },
    }))
}

fn space_to_depth(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Blocks {
        size: block_size(spec)?,
        direction: Direction::Gather,
    }))
}

impl Operator for Blocks {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let &[batch, channels, rows, columns] = x.dims() else {
            return Err(invalid(format!(
                "input 0 has shape {:?}; rank 4 is legal",
                x.dims()
            )));
        };
        let size = self.size;
        let divides = match self.direction {
            Direction::Gather => rows.is_multiple_of(size) && columns.is_multiple_of(size),
            _ => channels.is_multiple_of(size * size),
        };
        if !divides {
            return Err(invalid(format!(
                "attribute `blocksize` is {size}, which does not divide input 0 of shape {:?}",
                x.dims()
            )));
        }
        let depth = channels / (size * size);
        let (split, order, dims) = match self.direction {
            Direction::RowsFirst => (
                [batch, size, size, depth, rows, columns],
                [0, 3, 4, 1, 5, 2],
                [batch, depth, rows * size, columns * size],
            ),
            Direction::ChannelsFirst => (
                [batch, depth, size, size, rows, columns],
                [0, 1, 4, 2, 5, 3],
                [batch, depth, rows * size, columns * size],
            ),
            Direction::Gather => (
                [batch, channels, rows / size, size, columns / size, size],
                [0, 3, 5, 1, 2, 4],
                [batch, channels * size * size, rows / size, columns / size],
            ),
        };
        let result = reshaped(permuted(reshaped(x, &split)?, &order)?, &dims)?;
        Ok(vec![result])
    }
}
