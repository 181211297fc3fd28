#pragma once
// Test builds only (TRAITSCOPE_TEST_RPC): a second device without a GPU. ggml's RPC backend puts weights and
// keys into buffers that are no host memory and computes in another process, by the CPU's own kernels:
// results are the CPU's bit for bit. Its port asks nobody for a password, so no other build has it.

#include <string>

namespace traitscope {

/// Starts the server beside the addon on a free port of the loopback, for this process alone, and adds its
/// device. It ends with this process. Does nothing where TRAITSCOPE_TEST_RPC is not set in the environment.
void add_rpc_device(const std::string & folder);

} // namespace traitscope
