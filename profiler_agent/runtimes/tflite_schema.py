"""What the schema of TFLite calls things (schema.fbs of TensorFlow, version 3): data that a reader looks up.

Operators by their number, and of the options those that change what an operator costs or that a person looks for.
"""

from __future__ import annotations

from typing import Dict, Tuple

from profiler_agent.runtimes.flatbuffer import FLOAT32, INT8, INT32, UINT8, Number

CUSTOM = 32

_DTYPES = (
    "float32 float16 int32 uint8 int64 string bool int16 complex64 int8 float64 complex128 uint64 resource variant "
    "uint32 uint16 int4 bfloat16 int2 uint4"
)
DTYPES = tuple(_DTYPES.split())

_OPERATORS = (
    "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR "
    "FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC "
    "LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH "
    "SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN "
    "GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM "
    "STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM "
    "CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN "
    "TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT "
    "REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY "
    "SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS "
    "SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE "
    "MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 "
    "DENSIFY SEGMENT_SUM BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D "
    "IMAG REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE "
    "VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM "
    "MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX "
    "UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC "
    "STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP "
    "STABLEHLO_CONCATENATE STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL "
    "STABLEHLO_REDUCE STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR "
    "STABLEHLO_LOG STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER "
    "STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE "
    "STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA "
    "STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER "
    "STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT "
    "STABLEHLO_CBRT STABLEHLO_CASE"
)
OPERATORS = tuple(_OPERATORS.split())

PADDINGS = ("same", "valid")
ACTIVATIONS = ("none", "relu", "relu_n1_to_1", "relu6", "tanh", "sign_bit")

# The name of an attribute, the slots that make it, their kind and their default.
Attribute = Tuple[str, Tuple[int, ...], str, Number]
_PADDING: Attribute = ("padding", (0,), INT8, 0)


def _activation(slot: int) -> Attribute:
    return "activation", (slot,), INT8, 0


# By the number of the options' type in the union BuiltinOptions. Pairs are (height, width), as shapes are.
OPTIONS: Dict[int, Tuple[Attribute, ...]] = {
    1: (_PADDING, ("strides", (2, 1), INT32, 0), ("dilations", (5, 4), INT32, 1), _activation(3)),  # Conv2D
    2: (
        _PADDING,
        ("strides", (2, 1), INT32, 0),
        ("dilations", (6, 5), INT32, 1),
        ("depth_multiplier", (3,), INT32, 0),
        _activation(4),
    ),  # DepthwiseConv2D
    5: (_PADDING, ("strides", (2, 1), INT32, 0), ("kernel", (4, 3), INT32, 0), _activation(5)),  # Pool2D
    8: (_activation(0), ("keep_num_dims", (2,), UINT8, 0)),  # FullyConnected
    9: (("beta", (0,), FLOAT32, 0.0),),  # Softmax
    10: (("axis", (0,), INT32, 0), _activation(1)),  # Concatenation
    11: (_activation(0),),  # Add
    12: (_activation(0),),  # L2Norm
    15: (("align_corners", (2,), UINT8, 0), ("half_pixel_centers", (3,), UINT8, 0)),  # ResizeBilinear
    19: (("block_size", (0,), INT32, 0),),  # SpaceToDepth
    21: (_activation(0),),  # Mul
    23: (("axis", (0,), INT32, 0), ("batch_dims", (1,), INT32, 0)),  # Gather
    27: (("keep_dims", (0,), UINT8, 0),),  # Reducer: mean, sum, ...
    28: (_activation(0),),  # Sub
    29: (_activation(0),),  # Div
    32: (
        ("begin_mask", (0,), INT32, 0),
        ("end_mask", (1,), INT32, 0),
        ("ellipsis_mask", (2,), INT32, 0),
        ("new_axis_mask", (3,), INT32, 0),
        ("shrink_axis_mask", (4,), INT32, 0),
    ),  # StridedSlice
    35: (("num_splits", (0,), INT32, 0),),  # Split
    49: (_PADDING, ("strides", (2, 1), INT32, 0), _activation(3)),  # TransposeConv
    59: (("axis", (1,), INT32, 0),),  # Pack
    64: (("axis", (1,), INT32, 0),),  # Unpack
    74: (("align_corners", (0,), UINT8, 0), ("half_pixel_centers", (1,), UINT8, 0)),  # ResizeNearestNeighbor
    75: (("alpha", (0,), FLOAT32, 0.0),),  # LeakyRelu
    79: (("num_splits", (0,), INT32, 0),),  # SplitV
    94: (("block_size", (0,), INT32, 0),),  # DepthToSpace
    101: (("adj_x", (0,), UINT8, 0), ("adj_y", (1,), UINT8, 0)),  # BatchMatMul
    106: (_PADDING, ("strides", (1, 3, 2), INT32, 0), ("dilations", (5, 7, 6), INT32, 1), _activation(4)),  # Conv3D
    116: (("approximate", (0,), UINT8, 0),),  # Gelu
}
