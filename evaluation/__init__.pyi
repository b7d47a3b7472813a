from .evaluation import Evaluation as Evaluation
from .evaluation import Results as Results
from .report import write_report as write_report
from .settings import QUICK as QUICK
from .settings import EvaluationSettings as EvaluationSettings
