/**
 * Encodes a graph as an ONNX model. Inline weights travel in the model; the bytes of the others stay outside, where a reader finds
 * them as "external data": for a session that is nowhere, since it is handed each of them by name.
 * @see https://github.com/onnx/onnx/blob/main/docs/IR.md (IR version 10)
 */
import {
  AttributeProto_AttributeType as AttributeType,
  ModelProto,
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as OnnxDataType,
  type AttributeProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from "./generated/onnx.ts";
import type { Attribute, DataType, Graph, GraphNode, GraphValue, Weight } from "./graph.ts";
import { countWeightBytes, storedShape } from "./packed-layout.ts";

const IR_VERSION = 10n;

const OPSETS = [
  { domain: "", version: 21n },
  { domain: "com.microsoft", version: 1n },
  { domain: "shardrun", version: 1n },
];

const ONNX_DATA_TYPES: Readonly<Record<DataType, OnnxDataType>> = {
  float32: OnnxDataType.FLOAT,
  float16: OnnxDataType.FLOAT16,
  bfloat16: OnnxDataType.BFLOAT16,
  int64: OnnxDataType.INT64,
  int32: OnnxDataType.INT32,
  int8: OnnxDataType.INT8,
  uint8: OnnxDataType.UINT8,
  bool: OnnxDataType.BOOL,
};

/** A stretch of a file that holds a weight's bytes. */
export interface ExternalBytes {
  /** Relative to the model's own directory. */
  readonly location: string;
  readonly offset: number;
}

/** onnxruntime wants the file to exist, but reads nothing of a weight that it is handed. */
const HANDED_OVER: ExternalBytes = { location: "null", offset: 0 };

/** Whether a weight's bytes lie in the model itself; a session must be handed all others. */
export function isEmbedded(weight: Weight): boolean {
  return weight.source.kind === "inline" && weight.source.dataType === weight.dataType && weight.packing === undefined;
}

/**
 * The bytes of an ONNX ModelProto.
 * @param locate where a weight that is not embedded lies; left out: the session is handed it
 */
export function encodeModel(graph: Graph, locate: (weight: Weight) => ExternalBytes = () => HANDED_OVER): Uint8Array {
  const model: ModelProto = {
    irVersion: IR_VERSION,
    producerName: "shardrun",
    opsetImport: OPSETS,
    graph: {
      name: graph.name,
      node: graph.nodes.map(encodeNode),
      initializer: [...graph.weights.values()].map((weight) => encodeWeight(weight, locate)),
      input: graph.inputs.map(encodeValue),
      output: graph.outputs.map(encodeValue),
    },
  };
  return ModelProto.encode(model).finish();
}

function encodeWeight(weight: Weight, locate: (weight: Weight) => ExternalBytes): TensorProto {
  const { name, dataType, source } = weight;
  const declaration = {
    name,
    dims: storedShape(weight).map(BigInt),
    dataType: ONNX_DATA_TYPES[dataType],
    externalData: [],
  };
  if (source.kind === "inline" && isEmbedded(weight)) return { ...declaration, rawData: source.bytes };
  const { location, offset } = locate(weight);
  return {
    ...declaration,
    dataLocation: DataLocation.EXTERNAL,
    externalData: [
      { key: "location", value: location },
      { key: "offset", value: String(offset) },
      { key: "length", value: String(countWeightBytes(weight)) },
    ],
  };
}

function encodeNode({ name, opType, domain, inputs, outputs, attributes }: GraphNode): NodeProto {
  return {
    name,
    opType,
    domain,
    input: [...inputs],
    output: [...outputs],
    attribute: Object.entries(attributes).map(([key, attribute]) => encodeAttribute(key, attribute)),
  };
}

function encodeAttribute(name: string, attribute: Attribute): AttributeProto {
  switch (attribute.kind) {
    case "int":
      return { name, type: AttributeType.INT, i: BigInt(attribute.value), ints: [] };
    case "ints":
      return { name, type: AttributeType.INTS, ints: attribute.value.map(BigInt) };
    case "float":
      return { name, type: AttributeType.FLOAT, f: attribute.value, ints: [] };
    case "string":
      return { name, type: AttributeType.STRING, s: new TextEncoder().encode(attribute.value), ints: [] };
  }
}

function encodeValue({ name, dataType, shape }: GraphValue): ValueInfoProto {
  const dim = shape.map((size) =>
    typeof size === "number"
      ? { value: { $case: "dimValue" as const, value: BigInt(size) } }
      : { value: { $case: "dimParam" as const, value: size } },
  );
  return { name, type: { tensorType: { elemType: ONNX_DATA_TYPES[dataType], shape: { dim } } } };
}
