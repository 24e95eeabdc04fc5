// The network of Glow's couplings with frozen weights, value and gradient in its input:
//
//   h = [A x + a]+,  k = [B h + b]+,  y = C k + c,
//
// where x is read, and y is written, over 3x3 neighbours. The gradient has the same form, with
// transposed matrices and the marks of where h and k were positive in place of the rectifiers, so
// both are one function. For 32 pixels at a time h and k stay in the first cache.
//
// Planes are stored with one zero after each row and a row of zeros around, so that a neighbour is
// a fixed number of entries away.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <dlfcn.h>
#include <thread>
#include <vector>

namespace {

constexpr int LANES = 16, PAIR = 2 * LANES;
constexpr int ROWS = 8, TAPS = 9;

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int vi __attribute__((vector_size(4 * LANES)));
typedef int8_t vb __attribute__((vector_size(LANES)));

inline vf load(const float *at) {
  vf v;
  std::memcpy(&v, at, sizeof v);
  return v;
}
inline void store(float *at, vf v) { std::memcpy(at, &v, sizeof v); }

// The largest multiple of the rows of one pass that holds n.
inline int padded(int n) { return (n + ROWS - 1) / ROWS * ROWS; }

// A matrix (rows, columns) in groups of 8 rows, which lie together column by column.
struct Packed {
  int rows, columns;
  std::vector<float> values;

  Packed(const float *matrix, int rows, int columns)
      : rows(rows), columns(columns), values(size_t(padded(rows)) * columns, 0.0f) {
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < columns; c++)
        values[(size_t(r / ROWS) * columns + c) * ROWS + r % ROWS] = matrix[size_t(r) * columns + c];
  }
  const float *group(int first) const { return values.data() + size_t(first) * columns; }
};

// Sums over all columns, for N rows and 32 pixels; column c is read at in + offset[c].
template <int N, class Each>
inline void product(const float *group, int columns, const float *in, const int *offset, Each each) {
  vf sum[N][2] = {};
  for (int c = 0; c < columns; c++) {
    const float *at = in + offset[c];
    const vf left = load(at), right = load(at + LANES);
#pragma GCC unroll 8
    for (int r = 0; r < N; r++) {
      sum[r][0] += group[c * ROWS + r] * left;
      sum[r][1] += group[c * ROWS + r] * right;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < N; r++) each(r, sum[r][0], sum[r][1]);
}

template <class Each>
inline void multiply(const Packed &matrix, const float *in, const int *offset, Each each) {
  for (int first = 0; first < matrix.rows; first += ROWS) {
    const float *group = matrix.group(first);
    const int left = matrix.rows - first;
    auto shifted = [&](int r, vf a, vf b) { if (r < left) each(first + r, a, b); };
    if (left > ROWS / 2)
      product<ROWS>(group, matrix.columns, in, offset, shifted);
    else if (left > ROWS / 4)
      product<ROWS / 2>(group, matrix.columns, in, offset, shifted);
    else
      product<ROWS / 4>(group, matrix.columns, in, offset, shifted);
  }
}

// Both halves of 32 hidden values, as they are stored: where positive, or where marked.
template <bool MARKED>
struct Keep {
  float *to;
  const float *shift;   // NULL if marked
  int8_t *marks;        // those of a channel are `stride` after those of the one before
  size_t stride;
  const int8_t *valid;  // which of the 32 are pixels

  void operator()(int r, vf a, vf b) const {
    one(r, 0, a);
    one(r, LANES, b);
  }

 private:
  void one(int r, int half, vf value) const {
    int8_t *mark = marks + r * stride + half;
    vb small;
    vi on;
    if (MARKED) {
      std::memcpy(&small, mark, sizeof small);
      on = __builtin_convertvector(small, vi);
    } else {
      value = value + shift[r];
      std::memcpy(&small, valid + half, sizeof small);
      on = ~(value <= 0) & __builtin_convertvector(small, vi);  // a NaN stays
      small = __builtin_convertvector(on, vb);
      std::memcpy(mark, &small, sizeof small);
    }
    store(to + r * PAIR + half, (vf)((vi)value & on));
  }
};

}  // namespace

extern "C" {

struct Call {
  int images, height, width, inputs, hidden, outputs, threads;
  int marked;  // 0: rectify and, where there is room for them, write the marks; 1: read the marks
  const float *first, *second, *last;  // (hidden, 9 inputs), (hidden, hidden), (9 outputs, hidden)
  const float *first_shift, *second_shift, *last_shift;  // NULL if marked
  const float *in;                                       // (images, inputs, height, width)
  float *out;                                            // (images, outputs, height, width)
  int8_t *marks;  // (images, 2, hidden, blocks of 32 pixels), or NULL
};

int frozen_net_blocks(int height, int width) { return (height * (width + 1) + PAIR - 1) / PAIR; }
}

namespace {

template <bool MARKED>
struct Work {
  const Call &c;
  const Packed first, second, last;
  const int stride, blocks, start, plane;
  const size_t marks;  // of one channel
  std::vector<int> neighbours, channels, targets;
  std::vector<int8_t> inside;

  explicit Work(const Call &call)
      : c(call),
        first(c.first, c.hidden, TAPS * c.inputs),
        second(c.second, c.hidden, c.hidden),
        last(c.last, TAPS * c.outputs, c.hidden),
        stride(c.width + 1),
        blocks(frozen_net_blocks(c.height, c.width)),
        start(stride + 1),  // a row and an entry ahead of the first pixel, and behind the last block
        plane(start + blocks * PAIR + stride + 1),
        marks(size_t(blocks) * PAIR),
        neighbours(around(c.inputs)),
        channels(c.hidden),
        targets(around(c.outputs)),
        inside(marks, 0) {
    for (int k = 0; k < c.hidden; k++) channels[k] = k * PAIR;
    for (int y = 0; y < c.height; y++)
      for (int x = 0; x < c.width; x++) inside[y * stride + x] = -1;
  }

  std::vector<int> around(int planes) const {
    std::vector<int> at(TAPS * planes);
    for (int k = 0; k < int(at.size()); k++) {
      const int tap = k % TAPS;
      at[k] = k / TAPS * plane + (tap / 3 - 1) * stride + tap % 3 - 1;
    }
    return at;
  }

  // Take image after image until none is left.
  void run(std::atomic<int> &next) const {
    const int pixels = c.height * c.width;
    std::vector<float> source(size_t(c.inputs) * plane, 0.0f), sink(size_t(c.outputs) * plane);
    std::vector<float> hidden(2 * size_t(c.hidden) * PAIR);
    std::vector<int8_t> spare(c.marks ? 0 : 2 * c.hidden * marks);
    float *h = hidden.data(), *k = h + size_t(c.hidden) * PAIR;
    for (int image = next++; image < c.images; image = next++) {
      const float *in = c.in + size_t(image) * c.inputs * pixels;
      for (int row = 0; row < c.inputs * c.height; row++)
        std::memcpy(&source[size_t(row / c.height) * plane + start + row % c.height * stride],
                    in + size_t(row) * c.width, sizeof(float) * c.width);
      std::fill(sink.begin(), sink.end(), 0.0f);
      const size_t layer = c.hidden * marks;
      int8_t *mark = c.marks ? c.marks + size_t(image) * 2 * layer : spare.data();
      // The gradient meets the second layer first.
      int8_t *ahead = mark + (MARKED ? layer : 0), *behind = mark + (MARKED ? 0 : layer);
      for (int block = 0; block < blocks; block++) {
        const int at = block * PAIR;
        const float *x = &source[start + at];
        float *y = &sink[start + at];
        multiply(first, x, neighbours.data(),
                 Keep<MARKED>{h, c.first_shift, ahead + at, marks, &inside[at]});
        multiply(second, h, channels.data(),
                 Keep<MARKED>{k, c.second_shift, behind + at, marks, &inside[at]});
        multiply(last, k, channels.data(), [&](int r, vf a, vf b) {
          float *into = y + targets[r];
          store(into, load(into) + a);
          store(into + LANES, load(into + LANES) + b);
        });
      }
      float *out = c.out + size_t(image) * c.outputs * pixels;
      for (int row = 0; row < c.outputs * c.height; row++) {
        const int o = row / c.height;
        const float *line = &sink[size_t(o) * plane + start + row % c.height * stride];
        const float add = MARKED ? 0.0f : c.last_shift[o];
        for (int x = 0; x < c.width; x++) out[row * c.width + x] = line[x] + add;
      }
    }
  }
};

using Body = void (*)(void *);
using Parallel = void (*)(Body, void *, unsigned threads, unsigned flags);

// Call the body in so many threads at once: those of the OpenMP that torch has loaded, if it is
// GNU's. They stay awake for a while after each of torch's operations, and threads of our own would
// have to share the cores with them.
void in_threads(int threads, Body body, void *data) {
  static const auto team = reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  if (threads > 1 && team) return team(body, data, threads, 0);
  std::vector<std::thread> others;
  for (int t = 1; t < threads; t++) others.emplace_back(body, data);
  body(data);
  for (auto &other : others) other.join();
}

template <bool MARKED>
void compute(const Call &c) {
  struct Shared {
    const Work<MARKED> work;
    std::atomic<int> next;
  } shared{Work<MARKED>(c), {0}};
  const int threads = std::max(1, std::min(c.threads, c.images / 8));
  in_threads(threads, [](void *data) {
    auto *mine = static_cast<Shared *>(data);
    mine->work.run(mine->next);
  }, &shared);
}

}  // namespace

extern "C" void frozen_net(const Call *call) {
  call->marked ? compute<true>(*call) : compute<false>(*call);
}
