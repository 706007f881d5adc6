"""Opus frames through Debian's libopus, for reference chains where the gateway's own libopus is not to be had."""

import ctypes
import ctypes.util

import numpy as np

_VOIP = 2048
_SET = {"bitrate": 4002, "max_bandwidth": 4004, "complexity": 4010, "inband_fec": 4012, "loss_percent": 4014, "signal": 4024}
_BANDWIDTH = {8000: 1101, 12000: 1102, 16000: 1103}


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(ctypes.util.find_library("opus") or "libopus.so.0")
    library.opus_encoder_create.restype = ctypes.c_void_p
    library.opus_decoder_create.restype = ctypes.c_void_p
    library.opus_get_version_string.restype = ctypes.c_char_p
    return library


def round_trip(
    samples: np.ndarray,
    encode_rate: int,
    decode_rate: int,
    complexity: int,
    loss_percent: int,
) -> np.ndarray:
    """Encodes 20 ms mono frames at 20 kbit/s with FEC and decodes them; nothing is lost on the way."""
    library, failure = _library(), ctypes.c_int(0)
    encoder = ctypes.c_void_p(library.opus_encoder_create(encode_rate, 1, _VOIP, ctypes.byref(failure)))
    decoder = ctypes.c_void_p(library.opus_decoder_create(decode_rate, 1, ctypes.byref(failure)))
    if failure.value != 0:
        raise RuntimeError(f"libopus: error {failure.value}")
    wanted = {"bitrate": 20000, "complexity": complexity, "inband_fec": 1, "loss_percent": loss_percent}
    wanted["max_bandwidth"] = _BANDWIDTH[encode_rate]
    for name, value in wanted.items():
        library.opus_encoder_ctl(encoder, _SET[name], ctypes.c_int(value))
    frame, heard = encode_rate // 50, decode_rate // 50
    padded = np.pad(samples, (0, -len(samples) % frame + frame)).astype("<i2")
    packet, out, parts = ctypes.create_string_buffer(1500), np.zeros(heard, "<i2"), []
    for start in range(0, len(padded), frame):
        pcm = padded[start : start + frame].tobytes()
        length = library.opus_encode(encoder, pcm, frame, packet, 1500)
        library.opus_decode(decoder, packet, length, out.ctypes.data_as(ctypes.c_void_p), heard, 0)
        parts.append(out.copy())
    library.opus_encoder_destroy(encoder)
    library.opus_decoder_destroy(decoder)
    return np.concatenate(parts)


def version() -> str:
    """Which libopus this is."""
    return _library().opus_get_version_string().decode()
