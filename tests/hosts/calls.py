"""Makes calls of sessions and prints what comes: a line of JSON each. The first argument is a file of jobs, see python.test.ts."""

import json
import os
import sys
import tempfile

if "--without-numpy" in sys.argv:
    sys.modules["numpy"] = None  # An import fails.

import wasmith


def shown(value):
    if isinstance(value, dict):
        # Tensors travel as files, whose bits are compared.
        if value and all(hasattr(v, "dtype") for v in value.values()):
            handle, path = tempfile.mkstemp(dir=os.path.dirname(sys.argv[1]), suffix=".safetensors")
            os.close(handle)
            wasmith.write_safetensors(value, path)
            return {"file": path}
        return {name: shown(v) for name, v in value.items()}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": len(value)}
    return value.tolist() if hasattr(value, "tolist") else value


def argument(value):
    """`{"file": path}` is a file's tensors, `{"buffer": [code, …numbers]}` an array.array."""
    if not isinstance(value, dict):
        return value
    if "file" in value:
        return wasmith.read_safetensors(value["file"])
    if "buffer" in value:
        from array import array

        return array(value["buffer"][0], value["buffer"][1:])
    return {name: argument(v) for name, v in value.items()}


for job in json.load(open(sys.argv[1], encoding="utf8")):
    session = None
    for method, arguments, options in job["calls"]:
        try:
            if method == "load":
                session = wasmith.load(*arguments, **options)
                result = {"variant": session.report.variant, "inputs": session.inputs, "outputs": session.outputs}
                result.update(entries=list(session.entries), notes=session.report.notes, hash=session.report.hash)
            elif method == "set":
                for name, value in options.items():
                    setattr(session, name, value)
                result = {name: getattr(session, name) for name in options}
            else:
                result = getattr(session, method)(*map(argument, arguments), **options)
            print(json.dumps(shown(result)))
        except (wasmith.ModelError, wasmith.InternalError) as error:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}))
