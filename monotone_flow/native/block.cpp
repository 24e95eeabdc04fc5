// Blocks of small nets in low dimension: value, Jacobian, Newton's method, log-determinant and
// their gradients, for sixteen samples at a time whose whole state stays in the first cache.
//
// What is computed is that of tape.py, roots.py and blocks.py, which say where it comes from; they
// are the reference that this is tested against. Nothing is kept for the way back but the root w:
// the tape is computed anew, which is cheaper than memory.

#include <cmath>
#include <cstring>

namespace {

constexpr int LANES = 16;
constexpr int D = 2, T = 1 + D;  // values, and tangents along D directions
constexpr int MAX_LAYERS = 4, MAX_OUT = 32, MAX_ROWS = 132;

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int vi __attribute__((vector_size(4 * LANES)));

enum Kind { RESIDUAL, INVERSE_RESIDUAL, MONOTONE };
enum Activation { CPILA, CLIPSWISH, LIPSWISH, CRELU };

inline vf splat(float a) { return a - (vf){}; }
// A NaN in `a` stays: bounds are passed as `b`.
inline vf lower(vf a, vf b) { return b < a ? b : a; }
inline vf upper(vf a, vf b) { return b > a ? b : a; }
inline vf magnitude(vf a) { return upper(a, -a); }

// A NaN wins: it must not get lost.
inline float larger(float a, float b) { return a != a || a > b ? a : b; }

inline float largest(vf a) {
  float found = a[0];
  for (int i = 1; i < LANES; i++) found = larger(found, a[i]);
  return found;
}

inline float total(vf a) {
  float found = 0;
  for (int i = 0; i < LANES; i++) found += a[i];
  return found;
}

// exp by 2^n times a polynomial on |r| <= ln 2 / 2, to one unit in the last place.
inline vf exponential(vf x) {
  x = lower(upper(x, splat(-87.0f)), splat(88.0f));
  vf shifted = x * 1.44269504f + 12582912.0f;  // rounds to an integer
  vf n = shifted - 12582912.0f;
  vf r = x - n * 0.693145752f - n * 1.42860677e-6f;
  vf p = splat(1.0f / 5040);
  const float c[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  for (float term : c) p = p * r + term;
  vi power = ((vi)shifted - 0x4B400000 + 127) << 23;
  return p * (vf)power;
}

inline vf logarithm(vf x) {
  vf y = {};
  for (int i = 0; i < LANES; i++) y[i] = std::log(x[i]);
  return y;
}

struct Net {
  int layers;               // ahead of the last one
  int out[MAX_LAYERS + 1];  // rows of each layer's product
  int start[MAX_LAYERS + 1], stop[MAX_LAYERS + 1];  // rows of the tape that it takes
  int activation, halves;
  const float *weight[MAX_LAYERS + 1], *bias[MAX_LAYERS + 1];  // of this model
  float beta[MAX_LAYERS];

  int inputs(int layer) const { return stop[layer] - start[layer]; }
};

struct Tape {
  vf rows[MAX_ROWS][T];
  vf pre[MAX_LAYERS][MAX_OUT][T];
  vf slope[MAX_LAYERS][2 * MAX_OUT];
  vf out[D][T];
};

struct Bars {
  vf pre[MAX_LAYERS + 1][MAX_OUT][T];
  vf beta[MAX_LAYERS];
  vf w[D];
};

// Sums over samples, one lane each, of every weight's gradient.
struct Sums {
  vf weight[MAX_LAYERS + 1][MAX_OUT][MAX_ROWS];
  vf bias[MAX_LAYERS + 1][MAX_OUT];
  vf beta[MAX_LAYERS];
};

inline void activate(const Net &net, int layer, vf a, float s, vf &value, vf &slope) {
  float beta = net.beta[layer];
  switch (net.activation) {
    case CPILA: {
      vf z = a * s - 0.2f;
      vf b = lower(z, splat(0)), d = exponential(5 * b) / 1.06f;
      value = ((12.5f * b - 5) * b + 1) * b * d + upper(z, splat(0)) / 1.06f;
      slope = (((62.5f * b + 12.5f) * b - 5) * b + 1) * d * s;
      break;
    }
    case CRELU: {
      vf z = a * s;
      value = upper(z, splat(0));
      slope = z > 0 ? splat(s) : splat(0);
      break;
    }
    default: {
      float speed = net.activation == CLIPSWISH ? 1.1f * 1.004f : 1.1f;
      vf z = a * s, g = 1 / (1 + exponential(-beta * z));
      value = z * g / speed;
      slope = g * (1 + beta * z * (1 - g)) * (s / speed);
    }
  }
}

inline vf curvature(const Net &net, int layer, vf a, float s) {
  float beta = net.beta[layer];
  switch (net.activation) {
    case CPILA: {
      vf b = lower(a * s - 0.2f, splat(0));
      return (2.5f * b + 2) * b * b * exponential(5 * b) * (125 / 1.06f);
    }
    case CRELU:
      return splat(0);
    default: {
      float speed = net.activation == CLIPSWISH ? 1.1f * 1.004f : 1.1f;
      vf z = a * s, g = 1 / (1 + exponential(-beta * z));
      return beta * g * (1 - g) * (2 + beta * z * (1 - 2 * g)) / speed;
    }
  }
}

// Four outputs at once: each row is loaded once for four products.
void product(const Net &net, int layer, const vf rows[][T], vf result[][T]) {
  int inputs = net.inputs(layer), outputs = net.out[layer];
  const vf(*in)[T] = rows + net.start[layer];
  int o = 0;
  for (; o + 4 <= outputs; o += 4) {
    vf acc[4][T] = {};
    const float *w = net.weight[layer] + o * inputs;
    for (int c = 0; c < inputs; c++)
      for (int k = 0; k < 4; k++)
        for (int t = 0; t < T; t++) acc[k][t] += w[k * inputs + c] * in[c][t];
    std::memcpy(result + o, acc, sizeof acc);
  }
  for (; o < outputs; o++) {
    vf acc[T] = {};
    const float *w = net.weight[layer] + o * inputs;
    for (int c = 0; c < inputs; c++)
      for (int t = 0; t < T; t++) acc[t] += w[c] * in[c][t];
    std::memcpy(result + o, acc, sizeof acc);
  }
  for (int k = 0; k < outputs; k++) result[k][0] += net.bias[layer][k];
}

void evaluate(const Net &net, const vf w[D], Tape &tape) {
  for (int i = 0; i < D; i++) {
    tape.rows[i][0] = w[i];
    for (int t = 1; t < T; t++) tape.rows[i][t] = splat(t - 1 == i);
  }
  for (int layer = 0; layer < net.layers; layer++) {
    product(net, layer, tape.rows, tape.pre[layer]);
    int outputs = net.out[layer];
    for (int half = 0; half < net.halves; half++)
      for (int o = 0; o < outputs; o++) {
        int row = half * outputs + o;
        vf *into = tape.rows[net.stop[layer] + row];
        vf slope;
        activate(net, layer, tape.pre[layer][o][0], half ? -1 : 1, into[0], slope);
        tape.slope[layer][row] = slope;
        for (int t = 1; t < T; t++) into[t] = slope * tape.pre[layer][o][t];
      }
  }
  product(net, net.layers, tape.rows, tape.out);
}

// Go back from cotangents of the values and, in the first sweep, of the tangents.
template <int COLUMNS>
void sweep(const Net &net, const Tape &tape, Bars &bars) {
  static_assert(COLUMNS == 1 || COLUMNS == T, "values, or all columns");
  vf rows[MAX_ROWS][COLUMNS];
  std::memset(rows, 0, sizeof(vf) * COLUMNS * net.stop[net.layers]);
  for (int layer = net.layers; layer >= 0; layer--) {
    int outputs = net.out[layer], inputs = net.inputs(layer);
    if (layer < net.layers) {
      bars.beta[layer] = splat(0);
      for (int o = 0; o < outputs; o++) {
        const vf *pre = tape.pre[layer][o];
        vf bar[COLUMNS] = {};
        for (int half = 0; half < net.halves; half++) {
          int row = half * outputs + o;
          const vf *in = rows[net.stop[layer] + row];
          vf slope = tape.slope[layer][row], curved = splat(0);
          bar[0] += slope * in[0];
          if (COLUMNS > 1) {
            vf inner = splat(0);
            for (int t = 1; t < COLUMNS; t++) {
              bar[t] += slope * in[t];
              inner += pre[t] * in[t];
            }
            curved = curvature(net, layer, pre[0], half ? -1 : 1) * inner;
            bar[0] += curved;
          }
          if (net.activation == CLIPSWISH || net.activation == LIPSWISH) {
            vf value = tape.rows[net.stop[layer] + row][0];
            bars.beta[layer] += ((pre[0] * slope - value) * in[0] + pre[0] * curved) / net.beta[layer];
          }
        }
        for (int t = 0; t < COLUMNS; t++) bars.pre[layer][o][t] = bar[t];
      }
    }
    for (int c = 0; c < inputs; c++)
      for (int o = 0; o < outputs; o++)
        for (int t = 0; t < COLUMNS; t++)
          rows[net.start[layer] + c][t] += net.weight[layer][o * inputs + c] * bars.pre[layer][o][t];
  }
  for (int i = 0; i < D; i++) bars.w[i] = rows[i][0];
}

void add(const Net &net, const Tape &tape, const Bars &bars, Sums &sums) {
  for (int layer = 0; layer <= net.layers; layer++) {
    int inputs = net.inputs(layer);
    for (int o = 0; o < net.out[layer]; o++) {
      const vf *bar = bars.pre[layer][o];
      for (int c = 0; c < inputs; c++) {
        const vf *row = tape.rows[net.start[layer] + c];
        vf sum = sums.weight[layer][o][c];
        for (int t = 0; t < T; t++) sum += bar[t] * row[t];
        sums.weight[layer][o][c] = sum;
      }
      sums.bias[layer][o] += bar[0];
    }
    if (layer < net.layers) sums.beta[layer] += bars.beta[layer];
  }
}

struct Matrix {
  vf a, b, c, d;
  vf det() const { return a * d - b * c; }
};

// I + sign J of the net's Jacobian.
inline Matrix shifted(const Tape &tape, float sign) {
  return {1 + sign * tape.out[0][1], sign * tape.out[0][2], sign * tape.out[1][1],
          1 + sign * tape.out[1][2]};
}

inline void divide(const Matrix &m, const vf r[D], vf result[D]) {
  vf det = m.det();
  result[0] = (m.d * r[0] - m.b * r[1]) / det;
  result[1] = (m.a * r[1] - m.c * r[0]) / det;
}

inline Matrix transposed(const Matrix &m) { return {m.a, m.c, m.b, m.d}; }

// Solve w + g(w) = t by Newton steps, halved while a sample's residual does not fall; leave the
// tape at w. Returns the largest relative residual.
float solve(const Net &net, const vf target[D], vf w[D], Tape &tape, float tol, int limit) {
  vf best[D], step[D], smallest = splat(INFINITY), share = splat(1);
  float worst = INFINITY;
  vf reach = upper(magnitude(target[0]), magnitude(target[1]));
  for (int i = 0; i < D; i++) best[i] = w[i] = target[i], step[i] = splat(0);
  for (int count = 0; count < limit; count++) {
    evaluate(net, w, tape);
    vf r[D];
    for (int i = 0; i < D; i++) r[i] = w[i] + tape.out[i][0] - target[i];
    vf size = upper(magnitude(r[0]), magnitude(r[1]));
    vf relative = size / (1 + reach + upper(magnitude(w[0]), magnitude(w[1])));
    worst = largest(relative);
    vf newton[D];
    divide(shifted(tape, 1), r, newton);
    if (worst <= tol) {
      // One more step costs nothing; the tape is that of a point within the tolerance.
      for (int i = 0; i < D; i++) w[i] -= newton[i];
      return worst;
    }
    vi done = relative <= tol, better = size < smallest;
    for (int i = 0; i < D; i++) {
      step[i] = better ? -newton[i] : step[i];
      best[i] = (better | done) ? w[i] : best[i];
    }
    smallest = better ? size : smallest;
    share = better ? splat(1) : share / 2;
    for (int i = 0; i < D; i++) w[i] = done ? w[i] : best[i] + share * step[i];
  }
  return worst;
}

void load(const float *x, int batch, int at, vf result[D]) {
  for (int i = 0; i < D; i++)
    for (int lane = 0; lane < LANES; lane++) {
      int place = at + lane < batch ? at + lane : batch - 1;  // the last one fills up
      result[i][lane] = x[i * batch + place];
    }
}

void store(float *x, int batch, int at, const vf *values, int rows) {
  for (int i = 0; i < rows; i++)
    for (int lane = 0; lane < LANES && at + lane < batch; lane++)
      x[i * batch + at + lane] = values[i][lane];
}

const float ROOT2 = 1.41421356f;

}  // namespace

extern "C" {

// A net's shape and the weights of all models, as Python passes them.
struct Call {
  int kind, activation, halves, layers, models, batch;
  int out[MAX_LAYERS + 1], start[MAX_LAYERS + 1], stop[MAX_LAYERS + 1];
  const float *weight[MAX_LAYERS + 1], *bias[MAX_LAYERS + 1];  // (K, out, inputs), (K, out)
  const float *beta;                                           // (layers, K) or null
  float tol;
  int limit;
};

static Net model(const Call &call, int k) {
  Net net;
  net.layers = call.layers;
  net.activation = call.activation;
  net.halves = call.halves;
  for (int layer = 0; layer <= call.layers; layer++) {
    net.out[layer] = call.out[layer];
    net.start[layer] = call.start[layer];
    net.stop[layer] = call.stop[layer];
    net.weight[layer] = call.weight[layer] + k * call.out[layer] * net.inputs(layer);
    net.bias[layer] = call.bias[layer] + k * call.out[layer];
    if (layer < call.layers) net.beta[layer] = call.beta ? call.beta[layer * call.models + k] : 0;
  }
  return net;
}

// x (K, D, B) -> root w (K, D, B), z (K, D, B), logdet (K, B); returns the largest residual.
float block_forward(const Call *call, const float *x, float *w, float *z, float *logdet) {
  Tape tape;
  float worst = 0;
  int batch = call->batch;
  for (int k = 0; k < call->models; k++) {
    Net net = model(*call, k);
    const float *from = x + k * D * batch;
    for (int at = 0; at < batch; at += LANES) {
      vf point[D], root[D], result[D];
      load(from, batch, at, point);
      if (call->kind == RESIDUAL) {
        evaluate(net, point, tape);
        for (int i = 0; i < D; i++) root[i] = point[i], result[i] = point[i] + tape.out[i][0];
      } else {
        vf target[D];
        for (int i = 0; i < D; i++) target[i] = call->kind == MONOTONE ? ROOT2 * point[i] : point[i];
        float residual = solve(net, target, root, tape, call->tol, call->limit);
        worst = larger(worst, residual);
        for (int i = 0; i < D; i++)
          result[i] = call->kind == MONOTONE ? ROOT2 * root[i] - point[i] : root[i];
      }
      vf found = logarithm(shifted(tape, 1).det());
      if (call->kind == INVERSE_RESIDUAL) found = -found;
      if (call->kind == MONOTONE) found = logarithm(shifted(tape, -1).det()) - found;
      store(w + k * D * batch, batch, at, root, D);
      store(z + k * D * batch, batch, at, result, D);
      store(logdet + k * batch, batch, at, &found, 1);
    }
  }
  return worst;
}

// Cotangents of z and logdet -> cotangent of x, and gradients laid out as the weights.
void block_backward(const Call *call, const float *w, const float *z_bar, const float *logdet_bar,
                    float *x_bar, float *const *weight_bar, float *const *bias_bar,
                    float *beta_bar) {
  Tape tape;
  Bars bars, second;
  Sums *sums = new Sums;
  int batch = call->batch;
  for (int k = 0; k < call->models; k++) {
    Net net = model(*call, k);
    std::memset(sums, 0, sizeof *sums);
    for (int at = 0; at < batch; at += LANES) {
      vf root[D], z[D], ell[1], result[D];
      load(w + k * D * batch, batch, at, root);
      load(z_bar + k * D * batch, batch, at, z);
      for (int lane = 0; lane < LANES; lane++) {
        bool inside = at + lane < batch;
        ell[0][lane] = inside ? logdet_bar[k * batch + at + lane] : 0;
        if (!inside) z[0][lane] = z[1][lane] = 0;
      }
      evaluate(net, root, tape);
      // The derivative of log det M by M is M^-T.
      Matrix plus = shifted(tape, 1), minus = shifted(tape, -1);
      vf scale = (call->kind == RESIDUAL ? ell[0] : -ell[0]) / plus.det();
      vf jacobian[D][D] = {{scale * plus.d, -scale * plus.c}, {-scale * plus.b, scale * plus.a}};
      if (call->kind == MONOTONE) {
        vf other = -ell[0] / minus.det();
        jacobian[0][0] += other * minus.d;
        jacobian[0][1] -= other * minus.c;
        jacobian[1][0] -= other * minus.b;
        jacobian[1][1] += other * minus.a;
      }
      for (int i = 0; i < D; i++) {
        bars.pre[net.layers][i][0] = call->kind == RESIDUAL ? z[i] : splat(0);
        for (int j = 0; j < D; j++) bars.pre[net.layers][i][1 + j] = jacobian[i][j];
      }
      sweep<T>(net, tape, bars);
      if (call->kind == RESIDUAL) {
        for (int i = 0; i < D; i++) result[i] = z[i] + bars.w[i];
      } else {
        vf root_bar[D], target_bar[D];
        float factor = call->kind == MONOTONE ? ROOT2 : 1;
        for (int i = 0; i < D; i++) root_bar[i] = factor * z[i] + bars.w[i];
        divide(transposed(plus), root_bar, target_bar);
        for (int i = 0; i < D; i++) second.pre[net.layers][i][0] = -target_bar[i];
        sweep<1>(net, tape, second);
        for (int layer = 0; layer <= net.layers; layer++) {
          for (int o = 0; o < net.out[layer]; o++)
            bars.pre[layer][o][0] += second.pre[layer][o][0];
          if (layer < net.layers) bars.beta[layer] += second.beta[layer];
        }
        for (int i = 0; i < D; i++)
          result[i] = call->kind == MONOTONE ? ROOT2 * target_bar[i] - z[i] : target_bar[i];
      }
      add(net, tape, bars, *sums);
      store(x_bar + k * D * batch, batch, at, result, D);
    }
    for (int layer = 0; layer <= net.layers; layer++) {
      int inputs = net.inputs(layer), outputs = net.out[layer];
      for (int o = 0; o < outputs; o++) {
        for (int c = 0; c < inputs; c++)
          weight_bar[layer][(k * outputs + o) * inputs + c] = total(sums->weight[layer][o][c]);
        bias_bar[layer][k * outputs + o] = total(sums->bias[layer][o]);
      }
      if (layer < net.layers && beta_bar)
        beta_bar[layer * call->models + k] = total(sums->beta[layer]);
    }
  }
  delete sums;
}

}  // extern "C"
