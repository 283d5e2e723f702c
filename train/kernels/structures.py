"""What the compiled functions read: as their sources declare it, field by field."""

import ctypes

from dialog_service.compiled import COUNT, POINTER, fields


class WalkCall(ctypes.Structure):
    """``walks::Walk``."""

    _fields_ = [
        *fields(COUNT, "threads kind rows width inputs units groups is_reversed has_last"),
        *fields(POINTER, "order lengths first_step first_tile"),
        *fields(POINTER, "x input_weight hidden_weight input_bias hidden_bias"),
        *fields(POINTER, "seen active cells right bias hidden"),
        *fields(POINTER, "grad slot_grads turned bias_grads x_grad"),
        *fields(POINTER, "input_weight_grad hidden_weight_grad"),
    ]


class LinearCall(ctypes.Structure):
    """``linear::Linear``."""

    _fields_ = [
        *fields(COUNT, "threads rows inputs outputs"),
        *fields(POINTER, "x weight bias right y"),
        *fields(POINTER, "grad turned seen x_grad weight_grad"),
    ]


class WordsCall(ctypes.Structure):
    """``words::Words``."""

    _fields_ = [
        *fields(COUNT, "threads rows width words part"),
        *fields(POINTER, "features weight bias targets"),
        *fields(POINTER, "narrow powers_of_two scaled"),
        *fields(POINTER, "powers shares sums grads"),
        *fields(POINTER, "target_scores nats features_grad weight_grad bias_grad"),
        *fields(ctypes.c_float, "scale"),
    ]


class DropoutCall(ctypes.Structure):
    """``dropout::Dropout``."""

    _fields_ = [
        *fields(COUNT, "threads count dropped seed"),
        *fields(POINTER, "values found"),
    ]
