"""Presidio's own analyzer and anonymizer behind the paths and JSON of its images, without a language model to download.

What its images have beside this is the REST layer, which is not in the packages; spaCy's blank English pipeline cuts words, and
the recognizers are Presidio's own that need no more. Prints the port once it listens.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import spacy
from presidio_analyzer import AnalyzerEngine, AnalyzerRequest
from presidio_analyzer.nlp_engine import SpacyNlpEngine
from presidio_anonymizer import AnonymizerEngine
from presidio_anonymizer.entities import InvalidParamError
from presidio_anonymizer.services.app_entities_convertor import AppEntitiesConvertor


def nlp_engine() -> SpacyNlpEngine:
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.nlp = {"en": spacy.blank("en")}
    return engine


analyzer = AnalyzerEngine(nlp_engine=nlp_engine(), supported_languages=["en"])
anonymizer = AnonymizerEngine()


def analyze(body: dict) -> object:
    request = AnalyzerRequest(body)
    if not request.text:
        raise ValueError("No text provided")
    if not request.language:
        raise ValueError("No language provided")
    results = analyzer.analyze(
        text=request.text,
        language=request.language,
        entities=request.entities,
        score_threshold=request.score_threshold,
        return_decision_process=False,
        allow_list=request.allow_list,
    )
    return [result.to_dict() for result in results]


def anonymize(body: dict) -> object:
    operators = AppEntitiesConvertor.operators_config_from_json(body.get("anonymizers"))
    results = AppEntitiesConvertor.analyzer_results_from_json(body.get("analyzer_results"))
    return json.loads(anonymizer.anonymize(text=body.get("text", ""), analyzer_results=results, operators=operators).to_json())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            answer = {"/analyze": analyze, "/anonymize": anonymize}[self.path](json.loads(body))
            status = 200
        except KeyError:
            status, answer = 404, {"error": "no such path"}
        except (InvalidParamError, ValueError, TypeError) as error:
            status, answer = 422, {"error": str(error)}
        except Exception as error:  # as its own servers do
            status, answer = 500, {"error": str(error)}
        payload = json.dumps(answer, default=lambda value: value.__dict__).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(json.dumps({"port": server.server_port, "version": version("presidio-analyzer")}), flush=True)
server.serve_forever()
