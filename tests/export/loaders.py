"""Every way in which TensorFlow opens a SavedModel, as functions (path, x) -> output.

For models with one input and one output in `serving_default`.
"""

from __future__ import annotations

import ctypes
import os
import warnings

import keras
import numpy as np
import tensorflow as tf


def called(loaded, x):
    return next(iter(loaded.signatures["serving_default"](tf.constant(x)).values())).numpy()


def load(path, x):
    return called(tf.saved_model.load(str(path)), x)


def load_twice(path, x):
    """The first one works on while a second one comes, is changed and goes."""
    first, second = tf.saved_model.load(str(path)), tf.saved_model.load(str(path))
    for variable in second.variables:
        variable.assign(tf.zeros_like(variable))
    del second
    return called(first, x)


def saved_again(path, x):
    loaded = tf.saved_model.load(str(path))
    tf.saved_model.save(loaded, f"{path}_again", signatures=loaded.signatures)
    return load(f"{path}_again", x)


def tfsm_layer(path, x):
    return np.asarray(keras.layers.TFSMLayer(str(path), call_endpoint="serve")(x))


def session(path, x):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(path))
        signature = meta.signature_def["serving_default"]
        (given,), (wanted,) = signature.inputs.values(), signature.outputs.values()
        return session.run(wanted.name, {given.name: x})


def load_in_graph(path, x):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.saved_model.load(str(path))
        # Packed variables have no initialiser of their own: the tables' fills them.
        session.run([v.initializer for v in loaded.variables if v.initializer is not None])
        session.run(tf.compat.v1.tables_initializer())
        outputs = loaded.signatures["serving_default"](tf.constant(x))
        return session.run(next(iter(outputs.values())))


def xla(path, x):
    loaded = tf.saved_model.load(str(path))
    return tf.function(loaded.serve, jit_compile=True)(tf.constant(x)).numpy()


def frozen(path, x):
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(str(path))
    function = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
    return np.asarray(tf.nest.flatten(function(tf.constant(x)))[0])


def constants_of_a_session(path, x):
    """What TensorFlow 1's `freeze_graph` does."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(path))
        signature = meta.signature_def["serving_default"]
        (given,), (wanted,) = signature.inputs.values(), signature.outputs.values()
        convert = tf.compat.v1.graph_util.convert_variables_to_constants
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is of TensorFlow 1
            frozen = convert(session, session.graph_def, [wanted.name.split(":")[0]])
    assert not [node for node in frozen.node if node.op == "VarHandleOp"]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(frozen, name="")
        return session.run(wanted.name, {given.name: x})


def litert(path, x):
    model = tf.lite.TFLiteConverter.from_saved_model(str(path)).convert()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it moves to a package of its own
        interpreter = tf.lite.Interpreter(model_content=model)
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(wanted["index"])


class Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


def c_api(path, x):
    """`TF_LoadSessionFromSavedModel`: C++'s LoadSavedModel, which TensorFlow Serving calls too."""
    from tensorflow.core.protobuf import saved_model_pb2

    pointer = ctypes.c_void_p
    library = ctypes.CDLL(os.path.join(os.path.dirname(tf.__file__), "libtensorflow_cc.so.2"))
    for name in ("NewStatus", "NewGraph", "NewSessionOptions", "LoadSessionFromSavedModel"):
        getattr(library, f"TF_{name}").restype = pointer
    for name in ("GraphOperationByName", "AllocateTensor", "TensorData"):
        getattr(library, f"TF_{name}").restype = pointer
    library.TF_Message.restype = ctypes.c_char_p
    library.TF_TensorByteSize.restype = ctypes.c_size_t
    status, graph = pointer(library.TF_NewStatus()), pointer(library.TF_NewGraph())

    def check():
        if library.TF_GetCode(status):
            raise RuntimeError(library.TF_Message(status).decode())

    session = pointer(
        library.TF_LoadSessionFromSavedModel(
            pointer(library.TF_NewSessionOptions()),
            None,
            os.fsencode(path),
            (ctypes.c_char_p * 1)(b"serve"),
            1,
            graph,
            None,
            status,
        )
    )
    check()
    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        saved = saved_model_pb2.SavedModel.FromString(file.read())
    signature = saved.meta_graphs[0].signature_def["serving_default"]
    (given,), (wanted,) = signature.inputs.values(), signature.outputs.values()

    def end(tensor):
        name, index = tensor.name.split(":")
        return Output(library.TF_GraphOperationByName(graph, name.encode()), int(index))

    sizes = (ctypes.c_int64 * x.ndim)(*x.shape)
    tensor = pointer(
        library.TF_AllocateTensor(given.dtype, sizes, x.ndim, ctypes.c_size_t(x.nbytes))
    )
    ctypes.memmove(library.TF_TensorData(tensor), x.ctypes.data, x.nbytes)
    inputs, outputs = (pointer * 1)(tensor), (pointer * 1)()
    a, b = end(given), end(wanted)
    library.TF_SessionRun(
        session,
        None,
        ctypes.byref(a),
        inputs,
        1,
        ctypes.byref(b),
        outputs,
        1,
        None,
        0,
        None,
        status,
    )
    check()
    result = pointer(outputs[0])
    raw = ctypes.string_at(library.TF_TensorData(result), library.TF_TensorByteSize(result))
    library.TF_CloseSession(session, status)
    library.TF_DeleteSession(session, status)
    return np.frombuffer(raw, "float32").reshape(len(x), -1)


LOADERS = {
    function.__name__: function
    for function in (
        load,
        load_twice,
        saved_again,
        tfsm_layer,
        session,
        load_in_graph,
        c_api,
        xla,
        frozen,
        constants_of_a_session,
        litert,
    )
}
