import { describe, expect, it } from "vitest";
import { connectWire } from "../../../support/wire-upstreams.js";

const load = (provider: string, text: string, model = "m") =>
  connectWire(provider, { baseUrl: "http://gpu:8000/v1", model }).loadSignals?.decode(text);

describe("load signals", () => {
  it.each([
    ["vllm", "http://gpu:8000", "/metrics"],
    ["vllm", "http://gpu:8000/v1", "/metrics"],
    ["vllm", "http://gpu/behind/v1", "/behind/metrics"],
    ["sglang", "http://gpu:30000/v1", "/metrics"],
    ["llamacpp", "http://gpu:8080", "/metrics"],
    ["tgi", "http://gpu:3000", "/metrics"],
    ["gpustack", "http://gpu", undefined],
  ])("of %s at %s are at %s", (provider, baseUrl, path) => {
    const { loadSignals } = connectWire(provider, { baseUrl });
    expect(loadSignals?.request?.path).toBe(path);
  });

  it.each(["localai", "ollama", "openai-compatible"])("of %s there are none", (provider) => {
    expect(connectWire(provider, { baseUrl: "http://gpu" }).loadSignals).toBeUndefined();
  });

  it("of vLLM are the sums over its engines, and the mean of their caches", () => {
    const text = `vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 2
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.7
`;
    expect(load("vllm", text)).toEqual({ running: 4, waiting: 2, kvFree: expect.closeTo(0.4, 10) });
    expect(load("vllm", "vllm:gpu_cache_usage_perc 0.25")).toEqual({
      running: undefined,
      waiting: undefined,
      kvFree: 0.75,
    });
  });

  it("of SGLang are those of one rank of each engine, and the totals over priorities", () => {
    const text = `sglang:num_running_reqs{tp_rank="0",dp_rank="0",priority=""} 3
sglang:num_running_reqs{tp_rank="1",dp_rank="0",priority=""} 3
sglang:num_running_reqs{tp_rank="0",dp_rank="1",priority=""} 5
sglang:num_running_reqs{tp_rank="0",dp_rank="0",priority="1"} 3
sglang:num_queue_reqs{tp_rank="0",dp_rank="0"} 1
sglang:token_usage{tp_rank="0"} 0.9
`;
    expect(load("sglang", text)).toEqual({ running: 8, waiting: 1, kvFree: expect.closeTo(0.1, 10) });
  });

  it("of llama.cpp and TGI are what they tell", () => {
    expect(load("llamacpp", "llamacpp:requests_processing 1\nllamacpp:requests_deferred 4\n")).toEqual({
      running: 1,
      waiting: 4,
      kvFree: undefined,
    });
    expect(load("tgi", "tgi_queue_size 7\ntgi_batch_current_size 32\n")).toEqual({
      running: 32,
      waiting: 7,
      kvFree: undefined,
    });
  });

  it("of GPUStack are those of the deployment's model", () => {
    const text = `gpustack:num_requests_running{model_name="m",model_instance_name="m-1"} 2
gpustack:num_requests_running{model_name="m",model_instance_name="m-2"} 1
gpustack:num_requests_running{model_name="other",model_instance_name="o-1"} 9
gpustack:kv_cache_usage_ratio{model_name="m"} 1.2
`;
    expect(load("gpustack", text)).toEqual({ running: 3, waiting: undefined, kvFree: 0 });
    expect(load("gpustack", text, "org/m")).toMatchObject({ running: 3 });
    expect(load("gpustack", text, "*")).toMatchObject({ running: 12 });
    expect(load("gpustack", text, "unknown")).toBeUndefined();
  });

  it("are unknown, not 0, where a series is missing or makes no sense", () => {
    expect(load("vllm", "")).toBeUndefined();
    expect(load("vllm", "<html>not found</html>")).toBeUndefined();
    expect(load("vllm", "vllm:num_requests_running -1\nvllm:kv_cache_usage_perc NaN")).toBeUndefined();
  });
});
