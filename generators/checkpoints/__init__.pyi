from .architectures import ARCHITECTURES as ARCHITECTURES
from .own import write as write
from .reading import read as read
