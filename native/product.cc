// The product of two activations in oneDNN's own layout, an operator that MXNet 1.9.1 lacks, for its released wheel.
//
//     _atac_product(x, gate) = x * gate, and its gradient (dy * gate, dy * x)
//
// Where both factors are float32 and of one shape they are multiplied element by element in the blocked layout in which
// the convolutions left them. Everything else is handed to broadcast_mul and its gradient, which this operator is in all
// other respects: the same shapes and types, the same gradient node, the same numbers, bit for bit. Only products of
// bfloat16, which broadcast_mul truncates, are rounded to the nearest.
//
// The wheel was compiled by GCC 4.8, whose std::function passes arguments by value otherwise than that of today, and
// whose unordered_map has another size. So the maps of attributes are written by the wheel's own functions, no
// std::function of ours takes an argument by value, and NodeAttrs is never read past its first field.
#include <cstring>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <mkldnn.hpp>
#include <mxnet/ndarray.h>
#include <mxnet/op_attr_types.h>
#include <nnvm/op.h>
#include <nnvm/op_attr_types.h>

#define IN_THE_WHEEL __attribute__((visibility("default")))

using mxnet::NDArray;
using mxnet::OpContext;
using mxnet::OpReqType;
using nnvm::NodeAttrs;
using nnvm::Op;
using Arrays = std::vector<NDArray>;
using Requests = std::vector<OpReqType>;
using Layout = dnnl_memory_desc_t;

// What libmxnet.so has and its headers do not declare.
namespace mxnet {
class IN_THE_WHEEL MKLDNNStream {
 public:
  static MKLDNNStream *Get();
  void Submit(bool cleanup = true);
};

namespace engine {
class IN_THE_WHEEL OpenMP {
 public:
  static OpenMP *Get();
  int GetRecommendedOMPThreadCount(bool exclude_reserved = true) const;
};
}  // namespace engine

// Runs an operator on plain copies of its inputs.
using Plain = void (*)(const NodeAttrs &, const OpContext &, const std::vector<TBlob> &, const Requests &,
                       const std::vector<TBlob> &);
template <typename Compute, typename Attrs>
IN_THE_WHEEL void FallBackCompute(Compute, const Attrs &, const OpContext &, const Arrays &, const Requests &,
                                  const Arrays &);
}  // namespace mxnet

// The wheel's own instances, not ours: see above.
namespace nnvm {
#define ATTRIBUTE(Type)                                                                       \
  template <> IN_THE_WHEEL Op &Op::set_attr<Type>(const std::string &, const Type &, int);    \
  template <> IN_THE_WHEEL const OpMap<Type> &Op::GetAttr<Type>(const std::string &);
ATTRIBUTE(bool)
ATTRIBUTE(FListInputNames)
ATTRIBUTE(mxnet::FInferShape)
ATTRIBUTE(FInferType)
ATTRIBUTE(FInplaceOption)
ATTRIBUTE(FGradient)
ATTRIBUTE(mxnet::FInferStorageType)
ATTRIBUTE(mxnet::FResourceRequest)
ATTRIBUTE(mxnet::FCompute)
ATTRIBUTE(mxnet::FComputeEx)
}  // namespace nnvm

namespace dmlc {
template <> IN_THE_WHEEL nnvm::Op &Registry<nnvm::Op>::__REGISTER_OR_GET__(const std::string &);
}

namespace {

const char *const PRODUCT = "_atac_product", *const GRADIENT = "_backward_atac_product";
const char *const BROADCAST = "broadcast_mul", *const BROADCAST_GRADIENT = "_backward_broadcast_mul";
const size_t FEW = 1 << 14;  // elements that one thread multiplies sooner than several can begin

// What oneDNN 2.4 keeps in a dnnl_memory_t before its storage.
static_assert(DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR == 4, "another oneDNN may keep its memory otherwise");
struct Memory {
  const void *virtual_functions;
  bool initialised;
  const void *engine;
  Layout layout;
};

Layout LayoutOf(const NDArray &array) {
  return reinterpret_cast<const Memory *>(array.GetMKLDNNData()->get())->layout;
}

bool Same(const Layout &one, const Layout &other) { return std::memcmp(&one, &other, sizeof one) == 0; }

// Whether the elements of an array are those of its shape in some order, with no gap: not part of a blocked array, nor a
// blocked array that was given another shape.
bool IsWhole(const NDArray &array) {
  if (array.IsView()) return !array.IsMKLDNNData();
  const Layout layout = LayoutOf(array);
  bool whole = layout.format_kind == dnnl_blocked && layout.offset0 == 0 && layout.ndims == array.shape().ndim();
  for (int axis = 0; whole && axis < layout.ndims; ++axis)
    whole = layout.dims[axis] == array.shape()[axis] && layout.padded_dims[axis] == layout.dims[axis];
  return whole;
}

NDArray Whole(const NDArray &array) { return IsWhole(array) ? array : array.Reorder2Default(); }

NDArray Arranged(const NDArray &array, const Layout &layout) {
  if (Same(LayoutOf(array), layout)) return array;
  NDArray arranged{mkldnn::memory::desc(layout)};
  arranged.CopyFrom(*array.GetMKLDNNData());
  return arranged;
}

float *Elements(const NDArray &array) {
  return reinterpret_cast<float *>(static_cast<char *>(array.storage_handle().dptr) + array.byte_offset());
}

// No fused multiply-add (see native/build.py): broadcast_mul rounds the product before it adds.
__attribute__((target_clones("avx512f", "avx2", "default")))
void MultiplyRange(const float *x, const float *y, float *out, size_t begin, size_t end, bool add) {
  if (add) {
#pragma omp simd
    for (size_t i = begin; i < end; ++i) out[i] += x[i] * y[i];
  } else {
#pragma omp simd
    for (size_t i = begin; i < end; ++i) out[i] = x[i] * y[i];
  }
}

// out = x * y or out += x * y, in a layout, or in that of out if it is added to. A request to write in place is one to
// write, as elements are read before they are written.
void Multiply(const NDArray &x, const NDArray &y, Layout layout, OpReqType request, NDArray out) {
  if (request == mxnet::kNullOp) return;
  const bool add = request == mxnet::kAddTo;
  if (add) layout = LayoutOf(out);
  const NDArray a = Arranged(x, layout), b = Arranged(y, layout);
  mxnet::MKLDNNStream::Get()->Submit();
  const float *left = Elements(a), *right = Elements(b);
  if (!add) {
    out.InvalidateMKLDNNData();  // what its memory held before, an input perhaps, had a layout of its own
    out.CreateMKLDNNData(mkldnn::memory::desc(layout));
    mxnet::MKLDNNStream::Get()->Submit();
  }
  float *result = Elements(out);
  const size_t size = out.shape().Size();
  const int threads = size < FEW ? 1 : mxnet::engine::OpenMP::Get()->GetRecommendedOMPThreadCount();
#pragma omp parallel for num_threads(threads)
  for (int part = 0; part < threads; ++part)
    MultiplyRange(left, right, result, size * part / threads, size * (part + 1) / threads, add);
}

// Whether all is as Multiply wants it; the shapes of a compiled graph may change from call to call.
bool Suits(const Arrays &inputs, const Requests &requests, const Arrays &outputs) {
  const mxnet::TShape &shape = inputs[0].shape();
  for (const Arrays *arrays : {&inputs, &outputs})
    for (const NDArray &array : *arrays)
      if (array.dtype() != mshadow::kFloat32 || array.shape() != shape || array.storage_type() != mxnet::kDefaultStorage)
        return false;
  for (size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i].IsView() || (requests[i] == mxnet::kAddTo && !IsWhole(outputs[i]))) return false;
  return shape.ndim() > 0 && shape.ndim() <= 6 && shape.Size() > 0;  // as many axes as MXNet tells oneDNN of
}

// The layout of the factor that is not plain, of x if neither or both are. What a gradient comes in does not matter: it
// goes to those that made the factors.
Layout Common(const NDArray &x, const NDArray &gate) { return LayoutOf(x.IsMKLDNNData() ? x : gate); }

void FallBack(const char *name, const NodeAttrs &attrs, const OpContext &context, const Arrays &inputs,
              const Requests &requests, const Arrays &outputs) {
  const mxnet::FCompute &compute = Op::GetAttr<mxnet::FCompute>("FCompute<cpu>")[Op::Get(name)];
  mxnet::FallBackCompute(*compute.target<mxnet::Plain>(), attrs, context, inputs, requests, outputs);
}

void Product(const NodeAttrs &attrs, const OpContext &context, const Arrays &inputs, const Requests &requests,
             const Arrays &outputs) {
  if (!Suits(inputs, requests, outputs)) return FallBack(BROADCAST, attrs, context, inputs, requests, outputs);
  const NDArray x = Whole(inputs[0]), gate = Whole(inputs[1]);
  Multiply(x, gate, Common(x, gate), requests[0], outputs[0]);
}

// From (dy, x, gate) to (dx, dgate), in this order, as the memory of dy may become that of dgate.
void ProductGradient(const NodeAttrs &attrs, const OpContext &context, const Arrays &inputs, const Requests &requests,
                     const Arrays &outputs) {
  if (!Suits(inputs, requests, outputs)) return FallBack(BROADCAST_GRADIENT, attrs, context, inputs, requests, outputs);
  const NDArray dy = Whole(inputs[0]), x = Whole(inputs[1]), gate = Whole(inputs[2]);
  const Layout layout = Common(x, gate);
  Multiply(dy, gate, layout, requests[0], outputs[0]);
  Multiply(dy, x, layout, requests[1], outputs[1]);
}

// The node that broadcast_mul would make, with our operator in it.
std::vector<nnvm::NodeEntry> GradientNode(const nnvm::ObjectPtr &node, const std::vector<nnvm::NodeEntry> &gradients) {
  static const Op *const theirs = Op::Get(BROADCAST_GRADIENT), *const ours = Op::Get(GRADIENT);
  auto entries = Op::GetAttr<nnvm::FGradient>("FGradient")[Op::Get(BROADCAST)](node, gradients);
  for (nnvm::NodeEntry &entry : entries)
    if (entry.node->attrs.op == theirs) entry.node->attrs.op = ours;
  return entries;
}

template <class Value>
void Inherit(Op &op, const char *parent, const char *attribute) {
  op.set_attr<Value>(attribute, Op::GetAttr<Value>(attribute)[Op::Get(parent)], 10);
}

void Describe(Op &op, const char *parent, const mxnet::FComputeEx &compute) {
  op.num_inputs = Op::Get(parent)->num_inputs;
  op.num_outputs = Op::Get(parent)->num_outputs;
  op.arguments = Op::Get(parent)->arguments;
  Inherit<nnvm::FInplaceOption>(op, parent, "FInplaceOption");
  Inherit<mxnet::FCompute>(op, parent, "FCompute<cpu>");  // where oneDNN is switched off
  // Any number of arrays, and FComputeEx on a CPU with oneDNN.
  Inherit<mxnet::FInferStorageType>(op, "_backward_LRN", "FInferStorageType");
  op.set_attr<bool>("TIsMKLDNN", true, 10);
  op.set_attr<mxnet::FComputeEx>("FComputeEx<cpu>", compute, 10);
}

}  // namespace

// Returns what went wrong, or nothing.
extern "C" __attribute__((visibility("default"))) const char *register_product() try {
  auto *registry = dmlc::Registry<Op>::Get();
  Op &product = registry->__REGISTER_OR_GET__(PRODUCT), &gradient = registry->__REGISTER_OR_GET__(GRADIENT);
  Describe(product, BROADCAST, Product);
  Inherit<nnvm::FListInputNames>(product, BROADCAST, "FListInputNames");
  Inherit<mxnet::FInferShape>(product, BROADCAST, "FInferShape");
  Inherit<nnvm::FInferType>(product, BROADCAST, "FInferType");
  product.set_attr<nnvm::FGradient>("FGradient", GradientNode, 10);
  Describe(gradient, BROADCAST_GRADIENT, ProductGradient);
  Inherit<mxnet::FResourceRequest>(gradient, BROADCAST_GRADIENT, "FResourceRequest");
  gradient.set_attr<bool>("TIsBackward", true, 10);
  return nullptr;
} catch (const std::exception &error) {
  static const std::string what = error.what();
  return what.c_str();
} catch (...) {
  return "something unknown went wrong";
}
